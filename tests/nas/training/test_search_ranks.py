"""Two ranks find one architecture, and learn what one rank learns from both their batches."""

import json
import os
import socket
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from discrete_lightning.estimators import LeaveOneOut
from discrete_lightning.models import (
    DARTS,
    GDAS,
    CostTarget,
    Sampled,
    SearchMethod,
    SecondOrderDARTS,
)
from discrete_lightning.nas import (
    architecture_parameters,
)
from tests.nas.training.searching import NormFree, Watch, served, state
from tests.ranks import run_on_ranks
from tests.tiny_images import quiet_trainer, tiny_search, tiny_split

METHODS_ON_RANKS: list[SearchMethod] = [GDAS(), DARTS(), SecondOrderDARTS(), Sampled(LeaveOneOut(2))]


def _batches() -> list[dict[str, tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(1)

    def batch() -> tuple[Tensor, Tensor]:
        return torch.rand(16, 1, 28, 28, generator=generator), torch.randint(10, (16,), generator=generator)

    return [{name: batch() for name in ("weights", "architecture")} for _ in range(3)]


def _without_norms(method: SearchMethod, batches: list[Any], **arguments: Any) -> dict[str, Tensor]:
    seed_everything(3, verbose=False)
    search = NormFree(method, 1)
    trainer = quiet_trainer(limit_val_batches=0, use_distributed_sampler=False, **arguments)
    trainer.fit(search, served(batches), served([batches[0]["weights"]]))
    return state(search.network)


def _search_on_a_rank(port: int) -> tuple[list[Any], list[dict[str, Tensor]]]:
    rank = torch.distributed.get_rank()
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    results = []
    for method in METHODS_ON_RANKS:
        search = tiny_search(method, cost=CostTarget("latency", 1e6))
        if rank:  # ranks that disagree at the start
            search.choice.seed += 1
        watch = Watch()
        trainer = quiet_trainer(max_epochs=2, strategy="ddp", devices=2, precision="bf16-mixed", callbacks=[watch])
        trainer.fit(search, tiny_split())
        logits = architecture_parameters(search.network)[0].detach().clone()
        record = json.dumps(search.architecture_record())
        results.append((logits, record, [p.detach().clone() for p in search.parameters()], torch.cat(watch.labels)))
    own = slice(8 * rank, 8 * rank + 8)
    half = [{name: tuple(part[own] for part in pair) for name, pair in each.items()} for each in _batches()]
    return results, [_without_norms(method, half, strategy="ddp", devices=2) for method in METHODS_ON_RANKS[:3]]


@pytest.fixture(scope="module")
def ranks() -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return run_on_ranks(_search_on_a_rank, port)


def test_two_ranks_find_one_architecture_under_bf16_mixed(ranks: Any) -> None:
    for (logits, record, weights, labels), (other_logits, other_record, other_weights, other_labels) in zip(
        *(results for results, _ in ranks), strict=True
    ):
        assert torch.equal(logits, other_logits)
        assert logits.abs().sum() > 0
        assert record == other_record
        assert all(torch.equal(a, b) for a, b in zip(weights, other_weights, strict=True))
        assert not torch.equal(labels, other_labels)  # they learned from different images


def test_two_ranks_learn_what_one_learns_from_both_their_batches(ranks: Any) -> None:
    # without LeaveOneOut, some of whose gradients are exactly 0: Adam makes steps of their rounding
    for method, on_two in zip(METHODS_ON_RANKS[:3], ranks[0][1], strict=True):
        for name, value in _without_norms(method, _batches()).items():
            torch.testing.assert_close(
                on_two[name], value, rtol=5e-4, atol=5e-5, msg=lambda text, m=method, n=name: f"{m} {n}: {text}"
            )
