"""A resumed search continues exactly, at whatever step its checkpoint was made."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor

from discrete_lightning.estimators import ReinMax
from discrete_lightning.models import (
    GDAS,
    ArchitectureSearch,
    CostTarget,
    SecondOrderDARTS,
)
from tests.nas.training.searching import SaveAt, assert_equal, state
from tests.tiny_images import FAST, SPACE, quiet_trainer, tiny_search, tiny_split


@pytest.mark.parametrize(("batch", "method"), [(2, GDAS()), (5, ReinMax()), (3, SecondOrderDARTS())], ids=repr)
def test_resumed_in_mid_search_it_goes_on_exactly(batch: int, method: Any, tmp_path: Path) -> None:
    path = tmp_path / "mid.ckpt"
    whole = tiny_search(method, cost=CostTarget("parameters", 150))
    quiet_trainer(max_epochs=3, callbacks=[SaveAt(path, 1, batch)]).fit(whole, tiny_split())
    resumed = tiny_search(method, cost=CostTarget("parameters", 150))
    torch.manual_seed(77)  # another state of the default generator
    trainer = quiet_trainer(max_epochs=3)
    trainer.fit(resumed, tiny_split(), ckpt_path=path, weights_only=True)
    assert trainer.global_step == 2 * 18
    assert_equal(state(whole), state(resumed))


class SaveInside(ArchitectureSearch):
    """Writes a checkpoint in the middle of a training batch, or of validation, as Ctrl-C does; and goes on."""

    saved: Mapping[tuple[int, int, str], Path] = {}  # (epoch, batch, stage): file

    def task_loss(self, batch: Any) -> Tensor:
        self.save("training")
        return super().task_loss(batch)

    def _correct(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self.save("validation")
        return super()._correct(images, labels)

    def save(self, stage: str) -> None:
        index = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready - 1
        path = self.saved.get((self.trainer.current_epoch, index, stage))
        if path is not None and not path.exists():
            self.trainer.save_checkpoint(path, weights_only=False)


@pytest.mark.parametrize(
    ("accumulate", "places"),
    [(1, [(2, "training"), (5, "validation")]), (3, [(1, "training"), (5, "training")])],
)
def test_resumed_from_the_middle_of_a_step(accumulate: int, places: list[tuple[int, str]], tmp_path: Path) -> None:
    def search() -> SaveInside:
        tiny_search(GDAS())  # seeds
        return SaveInside(GDAS(), SPACE, optimizers=FAST, accumulate=accumulate)

    whole = search()
    whole.saved = {(1, batch, stage): tmp_path / f"{batch}.ckpt" for batch, stage in places}
    quiet_trainer(max_epochs=3).fit(whole, tiny_split())
    for path in whole.saved.values():
        resumed = search()
        torch.manual_seed(77)
        trainer = quiet_trainer(max_epochs=3)
        trainer.fit(resumed, tiny_split(), ckpt_path=path, weights_only=True)
        assert trainer.global_step == 2 * 18 // accumulate
        assert_equal(state(whole), state(resumed))


def test_resumed_from_a_checkpoint_between_the_batches_of_a_step(tmp_path: Path) -> None:
    paths = {batch: tmp_path / f"{batch}.ckpt" for batch in range(3)}
    whole = tiny_search(GDAS(), accumulate=3)
    saves: list[Callback] = [SaveAt(path, 1, batch) for batch, path in paths.items()]
    quiet_trainer(max_epochs=3, callbacks=saves).fit(whole, tiny_split())
    for path in paths.values():
        resumed = tiny_search(GDAS(), accumulate=3)
        quiet_trainer(max_epochs=3).fit(resumed, tiny_split(), ckpt_path=path, weights_only=True)
        assert_equal(state(whole), state(resumed))
        assert resumed.random_architectures() == whole.random_architectures()


def test_resumed_with_another_measure_or_none(tmp_path: Path) -> None:
    path = tmp_path / "flops.ckpt"
    search = tiny_search(GDAS(), cost=CostTarget("flops", 1e6))
    trainer = quiet_trainer(limit_val_batches=0)
    trainer.fit(search, tiny_split())
    trainer.save_checkpoint(path, weights_only=False)
    for cost in (CostTarget("parameters", 150), None):
        resumed = tiny_search(GDAS(), cost=cost)
        quiet_trainer(max_epochs=2, limit_val_batches=0).fit(resumed, tiny_split(), ckpt_path=path, weights_only=True)
        table, _ = SPACE.costs(torch.zeros(1, 1, 28, 28), 10, "parameters")
        assert torch.equal(resumed.choice.costs, table)
        assert resumed.choice.limit == (150 if cost else math.inf)
