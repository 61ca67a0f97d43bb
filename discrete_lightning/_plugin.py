"""What this package adds to every Lightning Trainer, by the entry point `lightning.pytorch.callbacks_factory`."""

import sys
from typing import Any


def callbacks_of_each_trainer() -> list[Any]:
    """`CodebookUpdates` where codebooks were imported, `StepUpdates` where other layers that collect statistics were: those of
    any LightningModule are then updated on all ranks together. Elsewhere nothing is added, and nothing imported."""
    if "discrete_lightning.vq.quantizers.updated_codebook" in sys.modules:
        from discrete_lightning.vq.training.codebook_updates import CodebookUpdates

        return [CodebookUpdates()]
    if "discrete_lightning.layers.updated_layer" in sys.modules:
        from discrete_lightning.training.step_updates import StepUpdates

        return [StepUpdates()]
    return []
