"""Watches codebooks: how many codes live, how evenly they are used, and a warning when a codebook collapses."""

import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from discrete_lightning.distributed import all_reduce_sum
from discrete_lightning.training.run_files import (
    fresh_path,
    image_grid,
    log_histogram,
    output_folder,
)
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Codebook


class CodebookMonitor(Callback):
    """For every Codebook in a module: live share and perplexity of each training epoch, a usage histogram in W&B, a PNG.

    A code is live in an epoch if it was chosen at least once, by any rank. Logged as `codes/live_share`,
    `codes/perplexity` and `codes/usage`, or `codes/<name>/...` where there are several codebooks.

    Args:
        collapsed_below: a live share under which it warns, once, naming the knobs to turn; 0 never warns.
        patience: epochs before it may warn.
        filename: picture written to the run's folder when fitting ends: how often each code is chosen and, if the module
            has `decode(indices) -> images`, what it stands for. None for no picture.

    Raises:
        ValueError: in setup, if the module holds no Codebook.
    """

    def __init__(self, collapsed_below: float = 0.1, patience: int = 2, filename: str | None = "codes.png") -> None:
        if not 0 <= collapsed_below <= 1:
            raise ValueError(f"collapsed_below is a share in [0, 1], got {collapsed_below}")
        self.collapsed_below, self.patience, self.filename = collapsed_below, patience, filename
        self._counts: dict[str, Tensor] = {}
        self._hooks: list[Any] = []
        self._last: dict[str, Tensor] = {}
        self._warned = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and not any(isinstance(module, Codebook) for module in pl_module.modules()):
            raise ValueError(f"CodebookMonitor finds no Codebook in {type(pl_module).__name__}; leave the callback out")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, module in pl_module.named_modules():
            if isinstance(module, Codebook) and module.countable:
                self._counts[name] = torch.zeros(module.num_codes, dtype=torch.int64, device=pl_module.device)
                self._hooks.append(module.register_forward_hook(self._hook(name)))

    def _hook(self, name: str) -> Any:
        def count(module: Codebook, _: Any, output: Quantized) -> None:
            if module.training:
                indices = output.indices.flatten()
                self._counts[name] += torch.bincount(indices, minlength=module.num_codes)

        return count

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, counts in self._counts.items():
            total = all_reduce_sum(counts)
            counts.zero_()
            usage = total / total.sum().clamp_min(1)
            prefix = "codes" if len(self._counts) == 1 else f"codes/{name}"
            live = (usage > 0).float().mean()
            pl_module.log(f"{prefix}/live_share", live, rank_zero_only=True)
            pl_module.log(f"{prefix}/perplexity", torch.special.entr(usage).sum().exp(), rank_zero_only=True)
            log_histogram(trainer, f"{prefix}/usage", usage)
            self._last[name] = usage.cpu()
            if live < self.collapsed_below and trainer.current_epoch + 1 >= self.patience and not self._warned:
                self._warned = True
                codebook = pl_module.get_submodule(name)
                warnings.warn(
                    f"codebook {name or type(codebook).__name__!r} has collapsed: {live:.0%} of its {len(usage)} codes were "
                    f"chosen in epoch {trainer.current_epoch}. To use more: {codebook.collapse_advice}.",
                    stacklevel=2,
                )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.filename and self._last and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._draw(trainer, pl_module, self.filename)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._counts = [], {}

    def _draw(self, trainer: Trainer, module: LightningModule, filename: str) -> None:
        from matplotlib.figure import Figure  # an optional dependency, and slow to import

        pictures = self._pictures(module)
        rows = len(self._last) + (pictures is not None)
        heights = [1.6] * len(self._last) + ([4.5] if pictures is not None else [])
        figure = Figure(figsize=(9, sum(heights) + 0.8), layout="constrained")
        axes = figure.subplots(rows, 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (name, usage) in zip(axes, self._last.items(), strict=False):
            ranked = usage.sort(descending=True).values
            axis.stairs(ranked.numpy(), fill=True, color="#30638e")
            axis.set(xlim=(0, len(ranked)), xlabel="code, by rank", ylabel="share")
            axis.set_title(
                f"{name}: {int((ranked > 0).sum())} of {len(ranked)} codes live in the last epoch", fontsize=10
            )
        if pictures is not None:
            axes[-1].imshow(pictures.movedim(0, -1).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            axes[-1].set_title("what each code decodes to on its own, by rank", fontsize=10)
            axes[-1].axis("off")
        figure.savefig(fresh_path(output_folder(trainer), filename), dpi=120)

    @torch.no_grad()
    def _pictures(self, module: LightningModule, count: int = 128) -> Tensor | None:
        """The patch in the middle of an image that holds nothing but one code, for the most used codes."""
        if len(self._last) != 1 or not callable(getattr(module, "decode", None)):
            return None
        usage = next(iter(self._last.values()))
        ranked = usage.argsort(descending=True)[: min(count, int((usage > 0).sum()))].to(module.device)
        training = module.training
        module.eval()
        try:
            with module.trainer.precision_plugin.forward_context():
                decode: Any = module.decode
                images = decode(ranked.view(-1, 1, 1).expand(-1, 5, 5)).float().clamp(0, 1).cpu()
        finally:
            module.train(training)
        patch = images.shape[-1] // 5
        middle = images[..., 2 * patch : 3 * patch, 2 * patch : 3 * patch]
        framed = torch.nn.functional.pad(middle, (1, 1, 1, 1), value=0.3)
        return image_grid(framed, columns=min(16, len(framed)))
