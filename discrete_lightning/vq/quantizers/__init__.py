"""The quantisers, one method a file; `discrete_lightning.vq` and `discrete_lightning.nn` export them."""
