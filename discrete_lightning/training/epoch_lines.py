"""Progress where there is no terminal: a line now and then instead of a bar."""

import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

_SECONDS = 10.0
_METRICS = 4


class EpochLines(Callback):
    """Prints `epoch 3/10  name value ...` at the end of an epoch, at most every ten seconds, and at the last one."""

    def __init__(self) -> None:
        self._next = 0.0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch, last = trainer.current_epoch + 1, trainer.max_epochs
        now = time.monotonic()
        if not trainer.is_global_zero or (now < self._next and epoch != last):
            return
        self._next = now + _SECONDS
        of = f"/{last}" if last and last > 0 else ""
        metrics: Mapping[str, Any] = trainer.progress_bar_metrics or trainer.callback_metrics
        shown = list(metrics.items())[:_METRICS]
        values = "".join(f"  {name} {float(value):.4g}" for name, value in shown)
        print(f"epoch {epoch}{of}{values}", flush=True)
