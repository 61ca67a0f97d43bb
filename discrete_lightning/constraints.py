"""The former place of `discrete_lightning.design.constraints`; configs of earlier runs use it."""

from discrete_lightning._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__, __file__, {"keep": "discrete_lightning.design.constraints.fix_all_but"}
)
