"""Keyed noise in Lightning: ranks, a resume, the command line's option."""

import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from discrete_lightning.callbacks import KeyedNoise
from discrete_lightning.functional import gumbel_noise, keyed_noise
from tests.ranks import run_on_ranks
from tests.tiny_images import quiet_trainer
from tests.training.keyed_fits import fit, fit_on_ranks, free_port, together

FAMILIES = ["vq", "residual vq", "vae", "routing"]


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for key, each in expected.items():
        torch.testing.assert_close(found[key], each, rtol=2e-4, atol=2e-5, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_are_one_process(ranks: int) -> None:
    starts = {name: fit(name).weights for name in FAMILIES}
    found = run_on_ranks(fit_on_ranks, free_port(), starts, ranks, ranks=ranks)
    for name, start in starts.items():
        expected = fit(name, start=start)
        assert len(expected.draws) >= 6
        for step, one in enumerate(expected.draws):
            assert torch.equal(together([each[name].draws[step] for each in found]), one), (name, step)
        for each in found:
            assert_close(each[name].weights, expected.weights)


class Noisy(LightningModule):
    """Keeps the noise of its steps. Every second draw is that of a validation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.noise: list[Tensor] = []
        self.validation: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.noise.append(gumbel_noise((len(batch), 3)))
        return self.layer(batch).mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validation.append(gumbel_noise((len(batch), 3)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Stop(Callback):
    """Writes a checkpoint after a batch, and ends the fit."""

    def __init__(self, path: Path, batches: int) -> None:
        self.path, self.left = path, batches

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.left -= 1
        if not self.left:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def noisy(*callbacks: Callback, path: Path | None = None, **options: Any) -> Noisy:
    module, data = Noisy(), torch.ones(12, 1)
    trainer = quiet_trainer(max_epochs=2, callbacks=[KeyedNoise(seed=5), *callbacks], num_sanity_val_steps=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, about resuming in the middle of an epoch
        trainer.fit(module, DataLoader(data, batch_size=4), DataLoader(data, batch_size=6), ckpt_path=path)
    return module


@pytest.mark.parametrize("batches", [2, 3])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resume_draws_on(tmp_path: Path, batches: int, accumulate: int) -> None:
    """In the middle of an epoch and at its end, without the state of any generator."""
    path, options = tmp_path / "cut.ckpt", {"accumulate_grad_batches": accumulate}
    whole = noisy(**options)
    cut, resumed = noisy(Stop(path, batches), **options), noisy(path=path, **options)
    assert len(whole.noise) == 6
    for found, expected in zip([*cut.noise[:batches], *resumed.noise], whole.noise, strict=True):
        assert torch.equal(found, expected)
    for one, other in combinations([*whole.noise, *whole.validation[:2]], 2):
        assert not torch.equal(one[:4], other[:4])
    for found, expected in zip(whole.validation[:2], whole.validation[2:], strict=True):
        assert torch.equal(found, expected)  # the same in each epoch


def test_batches_without_a_tensor_need_a_number() -> None:
    class Empty(nn.Module):
        device = torch.device("cpu")

    callback = KeyedNoise(seed=1)
    callback._begin(Empty(), ["a", "b"], 0)  # type: ignore[arg-type]
    try:
        with pytest.raises(ValueError, match="number of examples in the batch is not known"):
            gumbel_noise((2, 3))
    finally:
        callback._end()
    callback = KeyedNoise(seed=1, examples=len)
    callback._begin(Empty(), ["a", "b"], 0)  # type: ignore[arg-type]
    assert gumbel_noise((2, 3)).shape == (2, 3)
    with pytest.raises(RuntimeError, match="already"), keyed_noise(0, 0, 1):
        pass
    with pytest.raises(RuntimeError, match="KeyedNoise: keyed noise is in force already"):
        KeyedNoise()._begin(Empty(), torch.ones(2), 0)  # type: ignore[arg-type]
    callback._end()
    assert not torch.equal(gumbel_noise((2, 3)), gumbel_noise((2, 3)))
