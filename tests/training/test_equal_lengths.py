"""Loaders of different lengths on two ranks: the loops end together."""

import os
import socket
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from discrete_lightning.training._equal_lengths import stop_together
from tests.ranks import run_on_ranks
from tests.tiny_images import quiet_trainer


class Rows(IterableDataset[tuple[Tensor]]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[tuple[Tensor]]:
        return iter([(torch.ones(2),)] * self.count)


class Reducing(LightningModule):
    """Every step has a collective operation, as losses over all ranks have."""

    def __init__(self, lengths: list[list[int]], is_sized: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.lengths, self.is_sized = lengths, is_sized
        self.seen = {"train": 0, "val": 0}

    def loader(self, stage: int) -> DataLoader[tuple[Tensor, ...]]:
        count = self.lengths[stage][dist.get_rank()]
        data = TensorDataset(torch.ones(count, 2)) if self.is_sized else Rows(count)
        return DataLoader(data, batch_size=1)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self.loader(0)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self.loader(1)

    def step(self, batch: list[Tensor], stage: str) -> Tensor:
        count = torch.ones(1)
        dist.all_reduce(count)
        assert count == 2
        self.seen[stage] += 1
        return self.layer(batch[0]).sum()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.step(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.step(batch, "val")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def environment(port: int) -> None:
    rank = str(dist.get_rank())
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}  # fmt: skip


def fit(
    port: int, lengths: list[list[int]], is_sized: bool, accumulate: int
) -> tuple[dict[str, int], int, list[float], list[str]]:
    environment(port)
    torch.manual_seed(0)
    model = Reducing(lengths, is_sized)
    trainer: Trainer = quiet_trainer(
        max_epochs=2, strategy="ddp", devices=2, use_distributed_sampler=False, accumulate_grad_batches=accumulate,
        num_sanity_val_steps=0,
    )  # fmt: skip
    stop_together(trainer)
    said = StringIO()
    with redirect_stderr(said):
        trainer.fit(model)
    notes = [line for line in said.getvalue().splitlines() if line.startswith("note: ")]
    return model.seen, trainer.global_step, model.layer.weight[0].tolist(), notes


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("is_sized", [True, False], ids=["sized", "iterable"])
@pytest.mark.parametrize(
    ("lengths", "accumulate", "steps"), [([[5, 3], [2, 4]], 1, 6), ([[3, 5], [4, 2]], 2, 4), ([[4, 4], [2, 2]], 1, 8)]
)
def test_all_ranks_stop_at_the_shortest(lengths: list[list[int]], accumulate: int, steps: int, is_sized: bool) -> None:
    first, second = run_on_ranks(fit, free_port(), lengths, is_sized, accumulate, seconds=60)
    least = [min(each) for each in lengths]
    assert first[0] == second[0] == {"train": 2 * least[0], "val": 2 * least[1]}
    assert first[1] == second[1] == steps
    assert first[2] == second[2]
    assert second[3] == []
    differ = lengths[0][0] != lengths[0][1]
    if is_sized and differ:
        assert first[3] == [
            f"note: the ranks have {least[0]} to 5 batches of training: all stop after {least[0]}",
            f"note: the ranks have {least[1]} to 4 batches of evaluation: all stop after {least[1]}",
        ]
    else:
        assert bool(first[3]) is differ
