"""Alarms of an architecture search: skip connections everywhere, nothing connected, no decision, a relaxation that flatters.

DARTS is known to collapse to skip connections (Zela et al. 2020, https://arxiv.org/abs/1909.09656).
"""

import math
import warnings
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.functional import entropy as entropy_of
from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.one_of import disconnected, skip_share


class SearchMonitor(Callback):
    """Warns, once for each reason, of a search that goes wrong. Works on any LightningModule that holds a OneOf, and logs
    `search/choice_entropy` (in units of its maximum) and `search/skip_share` of those that do not themselves.

    Args:
        skip_share: of skip connections among the decided options that are not `none`, above which it warns.
        entropy: mean of the choices at the end of the search, in units of its maximum, above which it warns that nothing was
            decided.
        gap: error of the derived network minus error of the searched one in validation, above which it warns
            (`val/relaxation_gap`).
        patience: share of the epochs before which skip share and gap are not looked at.

    Raises:
        ValueError: if a limit is not a share.
    """

    def __init__(self, skip_share: float = 0.6, entropy: float = 0.9, gap: float = 0.1, patience: float = 0.5) -> None:
        for name, value in (("skip_share", skip_share), ("entropy", entropy), ("gap", gap), ("patience", patience)):
            if not 0 <= value <= 1:
                raise ValueError(f"SearchMonitor: {name} is a share in [0, 1], got {value}")
        self.skip_share, self.entropy, self.gap, self.patience = skip_share, entropy, gap, patience
        self._warned: set[str] = set()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = [each for each in pl_module.modules() if isinstance(each, ArchitectureChoice)]
        relative = [_relative_entropy(each) for each in found]
        entropy = sum(relative) / max(1, len(relative))
        searched: Any = pl_module if hasattr(pl_module, "skip_share") else None  # knows what of its decisions is used
        skips = searched.skip_share() if searched else skip_share(pl_module)
        dead = searched.disconnected() if searched else disconnected(pl_module)
        if searched is None:  # others log these themselves
            pl_module.log("search/choice_entropy", entropy, rank_zero_only=True)
            pl_module.log("search/skip_share", skips, rank_zero_only=True)
        last = trainer.max_epochs or 0
        done = trainer.current_epoch + 1
        if not trainer.is_global_zero or done < self.patience * last:
            return
        gap = float(trainer.callback_metrics.get("val/relaxation_gap", 0.0))
        if dead:
            self._warn(
                "disconnected",
                f"nothing connects input and output (epoch {done}): what is derived computes nothing. Leave `none` out of the "
                "options, or lower the architecture's learning rate",
            )
        if skips > self.skip_share:
            self._warn(
                "skip_share",
                f"{skips:.0%} of the decided operations are skip connections (epoch {done}): unless a low cost target asks "
                "for it, the search has collapsed. End it earlier, lower the architecture's learning rate, let the weights "
                "learn first (architecture_delay), or take a single-path method (GDAS)",
            )
        if gap > self.gap:
            self._warn(
                "gap",
                f"the derived network is {gap:.1%} of the validation images worse than the one that is searched (epoch "
                f"{done}): anneal the temperature lower, search longer, or take a single-path method",
            )
        if done == last and entropy > self.entropy:
            self._warn(
                "entropy",
                f"the choices are still undecided (entropy {entropy:.0%} of its maximum): search longer, or raise the "
                "architecture's learning rate",
            )

    def _warn(self, reason: str, text: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            warnings.warn(text, stacklevel=2)


def _relative_entropy(choice: ArchitectureChoice) -> float:
    return float(entropy_of(choice.logits.detach().float()).mean()) / math.log(max(2, len(choice.options)))
