"""Lightning for any module of anybody: annealing, gradient probe, run files. `discrete_lightning.callbacks` hands them on."""
