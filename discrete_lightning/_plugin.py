"""What this package adds to every Lightning Trainer, by the entry point `lightning.pytorch.callbacks_factory`."""

import sys
from typing import Any


def callbacks_of_each_trainer() -> list[Any]:
    """`CodebookUpdates` where codebooks were imported: those of any LightningModule are then updated on all ranks together.
    Elsewhere nothing is added, and nothing imported."""
    if "discrete_lightning.vq.quantizers.updated_codebook" not in sys.modules:
        return []
    from discrete_lightning.vq.training.codebook_updates import CodebookUpdates

    return [CodebookUpdates()]
