"""Training models that make discrete choices, with PyTorch Lightning.

Importing this package loads nothing heavy: name the part you use, such as `discrete_lightning.functional` (torch only)
or `discrete_lightning.callbacks` (Lightning).
"""

__version__ = "0.1.0"
