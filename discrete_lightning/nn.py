"""Modules with state: layers, quantisers, architecture choices. They work in plain PyTorch, without Lightning."""

from discrete_lightning._lazy import lazy_face

_SEARCH = (
    "architecture_parameters check_options derive expected_loss one_draw operation_costs skip_share weight_parameters"
)
_MOVED = {
    "Choice": "discrete_lightning.nas.ArchitectureChoice",
    "choices": "discrete_lightning.nas.architecture_choices",
    "disconnected": "discrete_lightning.nas.is_disconnected",
    "held": "discrete_lightning.nas.hold_architecture",
    "Scalar": "discrete_lightning.nn.Scheduled",
    "Weight": "discrete_lightning.nn.LossWeight",
    **{name: f"discrete_lightning.nas.{name}" for name in _SEARCH.split()},
}
__getattr__, __dir__, __all__ = lazy_face(__name__, __file__, _MOVED)
