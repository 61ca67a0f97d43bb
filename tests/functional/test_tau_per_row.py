"""One temperature a row: the value, and the gradient to each temperature, are those of a call of each row's own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import gumbel_lookup, gumbel_softmax, softmax
from discrete_lightning.losses import EntropyBonus
from tests.references.every_call import ESTIMATORS, FUNCTIONS
from tests.references.inputs import leaf

TAUS = [0.3, 1.0, 2.5]
CALLS = {name: call for name, call in {**FUNCTIONS, **ESTIMATORS}.items() if call.takes_tau}
Run = Callable[[Tensor, Any], Any]


def values_of(result: Any) -> Tensor:
    return next(each for each in torch.utils._pytree.tree_leaves(result) if each.is_floating_point())


def seeded_call(run: Run, tau: Tensor) -> tuple[Tensor, Tensor]:
    """The result, and the logits that it came from."""
    logits = leaf(torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1)))
    torch.manual_seed(2)
    return values_of(run(logits, tau)), logits


def assert_one_a_row(run: Run, shape: tuple[int, ...]) -> None:
    tau = leaf(torch.tensor(TAUS).view(shape))
    found, logits = seeded_call(run, tau)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(3))
    if found.requires_grad:
        (found * weights).sum().backward()
    for row, one in enumerate(TAUS):
        alone = leaf(one)
        expected, inputs = seeded_call(run, alone)
        torch.testing.assert_close(found[row], expected[row])
        if not found.requires_grad:
            continue
        (expected * weights)[row].sum().backward()
        torch.testing.assert_close(logits.grad[row], inputs.grad[row])
        assert (tau.grad is None) == (alone.grad is None)
        if alone.grad is not None:
            torch.testing.assert_close(tau.grad.flatten()[row], alone.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_every_sampler(name: str) -> None:
    assert_one_a_row(CALLS[name].run, (3, 1, 1))


def test_another_dimension_and_another_dtype() -> None:
    assert_one_a_row(lambda x, tau: gumbel_softmax(x, tau, dim=1), (3, 1, 1))
    assert softmax(torch.zeros(3, 4), torch.ones(3, 1, dtype=torch.float64)).dtype == torch.float32
    assert gumbel_softmax(torch.zeros(2, 3).half(), torch.ones(2, 1)).dtype == torch.float16


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("tempered", [False, True])
def test_a_large_codebook(hard: bool, tempered: bool) -> None:
    parts = [torch.randn(size, generator=torch.Generator().manual_seed(4)) for size in ((7, 5), (7,), (7, 2))]

    def run(vectors: Tensor, tau: Tensor) -> Tensor:
        # statistics are sums over vectors: of them only the gradient to a row's temperature is its own
        return gumbel_lookup(vectors, *parts, tau, hard=hard, statistics=tempered, tempered=tempered).quantized

    assert_one_a_row(run, (3, 1, 1))


def test_an_entropy_bonus_of_rows() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    bonus, tau = EntropyBonus(choice=1.0), leaf(torch.tensor(TAUS).view(3, 1))
    found = bonus(logits, tau)
    torch.testing.assert_close(found, torch.stack([bonus(logits[i], t) for i, t in enumerate(TAUS)]).mean())
    found.backward()
    assert tau.grad.shape == (3, 1)


@pytest.mark.parametrize("name", CALLS)
def test_shapes_that_are_no_rows(name: str) -> None:
    for shape in ((2,), (4, 1), (1, 1, 1), (3, 1), (2, 1, 1)):
        with pytest.raises(
            ValueError, match=r"tau must be a number, a 0-dim tensor, or a tensor that broadcasts to \(2, [13]"
        ):
            CALLS[name].run(torch.zeros(2, 3), torch.ones(shape))
    with pytest.raises(ValueError, match="tau must be positive and finite, got -2"):
        CALLS[name].run(torch.zeros(2, 3), torch.tensor([[1.0], [-2.0]]))
