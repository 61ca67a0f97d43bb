"""Searches for sequences, and the containers of what they find. Import them from `discrete_lightning.design`."""
