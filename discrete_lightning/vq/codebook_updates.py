"""`update_after_step` by the name that users of codebooks know."""

from torch import nn
from torch.optim import Optimizer

from discrete_lightning.layers.step_updates import StepBinding, update_after_step


def update_codebooks_after_step(model: nn.Module, *optimizers: Optimizer) -> StepBinding:
    """Has the codebooks of a model updated after each step of their optimiser, on all ranks together.

    Needed in a training loop of your own on several ranks, once before the loop. In Lightning the callback
    `CodebookUpdates` does it; in one process codebooks find their optimiser themselves, unless nothing before them is trained.

    With several optimisers a codebook belongs to those that train the nearest parameter before it: a discriminator's steps do
    not count. If none is seen to, it belongs to the first. FSDP with `use_orig_params`, and FSDP2, hide which parameter it is:
    there the codebook's optimiser is given first.

    Args:
        model: the module, wrapped or not, that holds the codebooks; the same on all ranks.
        optimizers: of the training, in the same order on all ranks.

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
