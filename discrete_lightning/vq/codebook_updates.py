"""`update_after_step` by the name that users of codebooks know."""

from torch import nn
from torch.optim import Optimizer

from discrete_lightning.layers.step_updates import StepBinding, update_after_step


def update_codebooks_after_step(model: nn.Module, *optimizers: Optimizer) -> StepBinding:
    """Has the codebooks of a model updated after each step of their optimiser; see `update_after_step` for when it is needed.

    In Lightning the callback `CodebookUpdates` does it.

    Args:
        model: the module, wrapped or not, that holds the codebooks; the same on all ranks.
        optimizers: of the training, in the same order on all ranks. With FSDP that hides parameters the codebooks' is first.

    Returns:
        The binding; its `remove()` ends it.

    Raises:
        ValueError: if no optimiser is given.

    Example:
        >>> from discrete_lightning.vq import VectorQuantizer
        >>> encoder, quantizer = nn.Linear(3, 2), VectorQuantizer(num_codes=4, dim=2)
        >>> optimizer = torch.optim.Adam(encoder.parameters())
        >>> binding = update_codebooks_after_step(quantizer, optimizer)
        >>> quantizer(encoder(torch.randn(10, 3))).loss.backward()
        >>> optimizer.step()
        >>> quantizer.updates
        tensor(1)
    """
    if not optimizers:
        raise ValueError("update_codebooks_after_step(model, *optimizers) needs an optimiser, got none")
    return update_after_step(model, *optimizers)
