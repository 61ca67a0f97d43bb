"""Search spaces: which networks can be found; `discrete_lightning.nas` exports them."""
