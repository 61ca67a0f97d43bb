"""Searches for sequences and what they find; `discrete_lightning.design` hands them on."""
