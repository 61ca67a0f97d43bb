"""Modules with state that every family uses; `discrete_lightning.nn`, `losses` and `metrics` export them."""
