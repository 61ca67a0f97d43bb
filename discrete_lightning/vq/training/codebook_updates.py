"""Codebooks of any LightningModule: updated after the steps of its optimisers, on all ranks together."""

from lightning.pytorch import LightningModule, Trainer

from discrete_lightning.functional._torch_private import left_out_by_ddp
from discrete_lightning.training.step_updates import StepUpdates
from discrete_lightning.vq.quantizers.vector import VectorQuantizer


class CodebookUpdates(StepUpdates):
    """Updates the codebooks of a LightningModule (`VectorQuantizer` and its relatives) after each step of their optimiser, and
    gives copies that weight averaging keeps their numbers.

    Every Trainer that is made after codebooks were imported has it by itself, where this package is installed. With several
    optimisers, manual optimisation too, a codebook belongs to those that train the nearest parameter before it: the steps of a
    discriminator do not count.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[CodebookUpdates()], accelerator="cpu", logger=False, enable_checkpointing=False)
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A rank whose batch does not reach a codebook leaves its parameter, which has no gradient, out of a step."""
        codebooks = [each for each in pl_module.modules() if isinstance(each, VectorQuantizer)]
        switches = {id(parameter) for codebook in codebooks for parameter in codebook.trainable}
        left_out_by_ddp(pl_module, [name for name, each in pl_module.named_parameters() if id(each) in switches])
