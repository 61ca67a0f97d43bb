"""Two gloo ranks, started once for all tests: everything that is reduced, against one process with all the data."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torchmetrics import Metric

from discrete_lightning.distributed import (
    all_gather_rows,
    all_reduce_sum,
    broadcast_,
    global_mean,
    rank,
    rank_generator,
    world_size,
)
from discrete_lightning.layers.choice_use import ChoiceUse, over_ranks
from discrete_lightning.layers.choices import Choices
from discrete_lightning.losses import EntropyBonus, choice_entropy, marginal_entropy
from discrete_lightning.metrics import CodePerplexity, CodeUsage, LiveCodes, RelaxationGap
from tests.ranks import run_on_ranks
from tests.references.inputs import seeded

ROWS = 7
SPLITS = [2, 0, 6]  # how many of the rows are rank 0's
CODES = 5
CPU = torch.device("cpu")


def squared_error(logits: Tensor) -> Tensor:
    return global_mean(logits.square().sum(), len(logits))


def function_of_a_mean_vector(logits: Tensor) -> Tensor:
    return global_mean(logits.exp().sum(0), torch.tensor(float(len(logits)))).log().square().sum()


LOSSES: list[Callable[[Tensor], Tensor]] = [
    squared_error,
    function_of_a_mean_vector,
    choice_entropy,
    marginal_entropy,
    EntropyBonus(0.3, 0.7),
]


def rows() -> Tensor:
    return torch.randn(ROWS, 3, dtype=torch.float64, generator=seeded(0))


def model() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Linear(3, CODES, dtype=torch.float64)


def value_and_gradients(loss: Callable[[Tensor], Tensor], network: torch.nn.Module, x: Tensor) -> list[Tensor]:
    value = loss(network(x))
    value.backward()
    return [value.detach(), *(parameter.grad for parameter in network.parameters())]


def gradients() -> dict[int, list[list[Tensor]]]:
    """Of every loss under DistributedDataParallel, for every split of the rows."""
    results = {}
    for split in SPLITS:
        mine = rows()[:split] if rank() == 0 else rows()[split:]
        results[split] = [value_and_gradients(loss, DistributedDataParallel(model()), mine) for loss in LOSSES]
    return results


def collectives() -> dict[str, Any]:
    mine = torch.tensor([[1.0, 2.0], [3.0, 4.0]]) + 10 * rank()
    total, gathered = all_reduce_sum(mine), all_gather_rows(mine.requires_grad_())
    counts, transposed = all_reduce_sum(torch.tensor([2**40, rank()])), all_gather_rows(mine.t())
    place = torch.full((2,), float(rank()))
    return {
        "who": (rank(), world_size()),
        "mine": mine.detach(),
        "total": total,
        "gathered": gathered,
        "transposed": transposed,
        "counts": counts,
        "same object": broadcast_(place) is place,
        "broadcast": place,
    }


def noise() -> dict[str, Tensor]:
    """As after seed_everything: the default generators of all ranks are equal."""
    torch.manual_seed(0)
    first, second = (torch.randn(100_000, generator=rank_generator(CPU)) for _ in range(2))
    default = torch.randn(5)
    torch.manual_seed(0)
    return {
        "first": first,
        "second": second,
        "default": default,
        "again": torch.randn(100_000, generator=rank_generator(CPU)),
    }


def updates(of_rank: int) -> list[Tensor]:
    """Uneven: rank 0 updates three times, rank 1 once, and each has codes that the other has not."""
    codes = [[[0, 0, 1], [1], []], [[3, 3, 3, 3, 0]]]
    return [torch.tensor(batch, dtype=torch.int64) for batch in codes[of_rank]]


def update(metric: Metric, of_rank: int) -> None:
    for indices in updates(of_rank):
        if isinstance(metric, RelaxationGap):
            metric.update(torch.ones(len(indices)), indices.float())
        else:
            metric.update(indices)


def all_metrics() -> list[Metric]:
    return [CodePerplexity(CODES), LiveCodes(CODES), CodeUsage(CODES), RelaxationGap()]


def metrics() -> list[tuple[Tensor, Tensor]]:
    """Each twice, to see that computing does not change the local counts, with a reset before."""
    results = []
    for metric in all_metrics():
        update(metric, 1 - rank())
        metric.reset()
        update(metric, rank())
        first = metric.compute()
        update(metric, rank())
        results.append((first, metric.compute()))
    return results


def choice_use() -> tuple[dict[str, Tensor], list[float], bool]:
    """Uneven: each rank sees other categories, rank 1 more of them; gates only on rank 1; a layer that no rank sees."""
    categories, gates = ChoiceUse(False, "cpu"), ChoiceUse(True, "cpu")
    for each in choices(rank()):
        categories.add(each)
    if rank() == 1:
        gates.add(Choices(torch.tensor([[True, False], [True, True]]), 2))
    whole, open_gates, nothing = over_ranks([categories, gates if rank() == 1 else None, None], CPU)
    assert whole is not None
    assert open_gates is not None
    return whole.figures(), open_gates.usage().tolist(), nothing is None


def choices(of_rank: int) -> list[Choices]:
    sizes = [(4, 3), (2, 3)] if of_rank == 0 else [(5, 6)]
    return [
        Choices(torch.randint(k, (n, 1), generator=seeded(n)), k, torch.randn(n, k, generator=seeded(k)))
        for n, k in sizes
    ]


def everything() -> dict[str, Any]:
    return {
        "gradients": gradients(),
        "collectives": collectives(),
        "noise": noise(),
        "metrics": metrics(),
        "choices": choice_use(),
    }


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_on_ranks(everything)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("number", range(len(LOSSES)))
def test_losses_over_ranks_are_those_of_one_process(results: list[dict[str, Any]], split: int, number: int) -> None:
    expected = value_and_gradients(LOSSES[number], model(), rows())
    for result in results:
        torch.testing.assert_close(result["gradients"][split][number], expected)
    values = [result["gradients"][split][number][0] for result in results]
    assert torch.equal(values[0], values[1])


@pytest.mark.parametrize("number", [0, 1])
def test_collectives(results: list[dict[str, Any]], number: int) -> None:
    result = results[number]["collectives"]
    assert result["who"] == (number, 2)
    assert result["mine"].tolist() == [[1 + 10 * number, 2 + 10 * number], [3 + 10 * number, 4 + 10 * number]]
    assert result["total"].tolist() == [[12, 14], [16, 18]]
    assert result["gathered"].tolist() == [[1, 2], [3, 4], [11, 12], [13, 14]]
    assert result["transposed"].tolist() == [[1, 3], [2, 4], [11, 13], [12, 14]]
    assert result["counts"].tolist() == [2**41, 1]
    assert not result["total"].requires_grad
    assert not result["gathered"].requires_grad
    assert result["same object"]
    assert result["broadcast"].tolist() == [0, 0]


def test_ranks_draw_different_noise_from_equal_seeds(results: list[dict[str, Any]]) -> None:
    """Three pairs of 100,000 independent normal draws: correlations within 5 standard deviations of 0."""
    first, second = (result["noise"] for result in results)
    for one, other in (
        (first["first"], second["first"]),
        (first["first"], first["second"]),
        (first["second"], second["first"]),
    ):
        assert abs((one * other).mean()) < 5 / len(one) ** 0.5
    assert torch.equal(first["default"], second["default"])
    assert all(torch.equal(result["noise"]["first"], result["noise"]["again"]) for result in results)


@pytest.mark.parametrize("number", range(4))
def test_metrics_over_ranks_are_those_of_one_process(results: list[dict[str, Any]], number: int) -> None:
    alone = all_metrics()[number]
    for repeat in range(2):
        update(alone, 0)
        update(alone, 1)
        for result in results:
            torch.testing.assert_close(result["metrics"][number][repeat], alone.compute())


def test_choices_over_ranks_are_those_of_one_process(results: list[dict[str, Any]]) -> None:
    alone = ChoiceUse(False, "cpu")
    for each in (*choices(0), *choices(1)):
        alone.add(each)
    for result in results:
        figures, open_gates, nothing = result["choices"]
        torch.testing.assert_close(figures, alone.figures())
        assert open_gates == [1, 0.5]
        assert nothing


def test_alone_collectives_are_the_identity() -> None:
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    assert (world_size(), rank()) == (1, 0)
    total = all_reduce_sum(x)
    assert torch.equal(total, x)
    assert total.data_ptr() != x.data_ptr()
    assert torch.equal(all_gather_rows(x), x)
    assert not all_gather_rows(x).requires_grad
    assert broadcast_(x) is x
    assert rank_generator(CPU) is None


@pytest.mark.parametrize("count", [4, 4.0, torch.tensor(4), torch.tensor(4.0)])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_alone_the_mean_is_total_over_count(shape: tuple[int, ...], count: float | Tensor) -> None:
    total = torch.full(shape, 6.0, requires_grad=True)
    mean = global_mean(total, count)
    mean.sum().backward()
    assert torch.equal(mean, torch.full(shape, 1.5))
    assert torch.equal(total.grad, torch.full(shape, 0.25))
