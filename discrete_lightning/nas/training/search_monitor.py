"""Warns of a collapse to skip connections, a disconnected cell, undecided choices, and a derived network much worse than the
searched one.

DARTS is known to collapse to skip connections (Zela et al. 2020, https://arxiv.org/abs/1909.09656).
"""

import math
import warnings

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.functional import entropy as entropy_of
from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.one_of import is_disconnected, skip_share
from discrete_lightning.protocols import SummarizesArchitecture


class SearchMonitor(Callback):
    """Warns, once for each reason, of a search that goes wrong. Works on any LightningModule that holds a OneOf.

    Logs `search/choice_entropy` (as a share of its maximum) and `search/skip_share`, unless the module reports on its
    architecture itself (`protocols.SummarizesArchitecture`).

    Args:
        skip_share: warns if more than this share of the decided operations are skip connections. Edges decided as the
            operation `none` are not counted.
        entropy: warns if the mean entropy of the choices, as a share of its maximum, is above this after the last epoch.
        gap: warns if the validation error of the derived network exceeds that of the searched one by more than this
            (`val/relaxation_gap`).
        patience: share of the epochs after which the checks begin.

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
        if isinstance(pl_module, SummarizesArchitecture):
            skips, dead = pl_module.architecture_skip_share(), pl_module.architecture_is_disconnected()
        else:
            skips, dead = skip_share(pl_module), is_disconnected(pl_module)
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
                f"no operation connects the input to the output (epoch {done}), so the derived network computes nothing. Leave "
                "the operation `none` out of the options, or lower the architecture's learning rate",
            )
        if skips > self.skip_share:
            self._warn(
                "skip_share",
                f"{skips:.0%} of the decided operations are skip connections (epoch {done}). Unless a low cost target requires "
                "this, the search has collapsed: stop it earlier, lower the architecture's learning rate, train the weights "
                "alone first (architecture_delay), or use a single-path method (GDAS)",
            )
        if gap > self.gap:
            self._warn(
                "gap",
                f"the derived network's validation error is higher by {gap:.1%} than that of the searched network (epoch "
                f"{done}): anneal to a lower temperature, search longer, or use a single-path method",
            )
        if done == last and entropy > self.entropy:
            self._warn(
                "entropy",
                f"the choices are still undecided (entropy at {entropy:.0%} of its maximum): search longer, or raise the "
                "architecture's learning rate",
            )

    def _warn(self, reason: str, text: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            warnings.warn(text, stacklevel=2)


def _relative_entropy(choice: ArchitectureChoice) -> float:
    return float(entropy_of(choice.logits.detach().float()).mean()) / math.log(max(2, len(choice.options)))
