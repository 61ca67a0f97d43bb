"""Lightning callbacks. They find layers by type, so they work on any LightningModule that holds them."""

from discrete_lightning._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__, __file__, {"ScalarAnnealing": "discrete_lightning.training.annealing.Annealing"}
)
