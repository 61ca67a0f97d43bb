"""Watches codebooks: how many codes live, how evenly they are used, and a warning when a codebook collapses."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from discrete_lightning.protocols import DecodesIndices
from discrete_lightning.training.choice_monitor import ChoiceMonitor
from discrete_lightning.training.pictures import image_grid, visible
from discrete_lightning.vq.quantizer import Codebook


class CodebookMonitor(ChoiceMonitor):
    """ChoiceMonitor for the codebooks in a module: live share and perplexity of each training epoch, a histogram, a PNG.

    A code is live in an epoch if it was chosen at least once, by any rank. Logged as `codes/live_share`,
    `codes/perplexity`, `codes/usage` and the other figures of ChoiceMonitor, or `codes/<name>/...` where there are several
    codebooks.

    Args:
        collapsed_below: a live share below which it warns, once, naming the arguments to change; 0 never warns.
        patience: epochs before it may warn.
        filename: picture written to the run's folder when fitting ends: how often each code is chosen and, if the module
            has `decode_indices(indices) -> images`, what it stands for. None for no picture.

    Raises:
        ValueError: in setup, if the module holds no Codebook.
    """

    kind, categories = "codes", "codes"

    def __init__(self, collapsed_below: float = 0.1, patience: int = 2, filename: str | None = "codes.png") -> None:
        super().__init__(None, collapsed_below, dominated_above=1.0, patience=patience, filename=filename)

    def layers(self, module: nn.Module) -> dict[str, nn.Module]:
        return {name: each for name, each in module.named_modules() if isinstance(each, Codebook) and each.countable}

    def advice(self, layer: nn.Module) -> str:
        assert isinstance(layer, Codebook)
        return layer.collapse_advice

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and not any(isinstance(module, Codebook) for module in pl_module.modules()):
            raise ValueError(f"CodebookMonitor finds no Codebook in {type(pl_module).__name__}; leave the callback out")

    @torch.no_grad()
    def pictures(self, module: LightningModule, most: int = 128) -> Tensor | None:
        """The patch in the middle of an image that holds only one code, for the `most` most used codes."""
        if len(self._last) != 1 or not isinstance(module, DecodesIndices):
            return None
        usage = next(iter(self._last.values())).usage()
        ranked = usage.argsort(descending=True)[: min(most, int((usage > 0).sum()))].to(module.device)
        training = module.training
        module.eval()
        try:
            with module.trainer.precision_plugin.forward_context():
                images = module.decode_indices(ranked.view(-1, 1, 1).expand(-1, 5, 5)).float().clamp(0, 1).cpu()
        finally:
            module.train(training)
        patch = images.shape[-1] // 5
        middle = images[..., 2 * patch : 3 * patch, 2 * patch : 3 * patch]
        framed = torch.nn.functional.pad(middle, (1, 1, 1, 1), value=0.3)
        return image_grid(visible(framed), columns=min(16, len(framed)))
