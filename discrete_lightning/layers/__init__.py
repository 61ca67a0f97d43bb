"""Modules with state that every family uses; `discrete_lightning.nn`, `losses` and `metrics` hand them to users."""
