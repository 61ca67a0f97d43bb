"""Callbacks for any LightningModule: annealing, monitors, pictures, files. Import them from `discrete_lightning.callbacks`."""
