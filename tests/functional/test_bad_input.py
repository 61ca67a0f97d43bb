"""Every public function, estimator and loss gives one documented answer to each kind of bad input."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning import functional, losses
from discrete_lightning.estimators import StraightThrough
from tests.references.every_call import CALLS, FUNCTIONS, LOSSES, NO_LOGITS, Call
from tests.references.inputs import leaf

INF = math.inf
WITH_TAU = [name for name, call in CALLS.items() if call.takes_tau]
each_call = pytest.mark.parametrize("name", CALLS)

NO_DISTRIBUTION = r"rows of (prior_)?logits have no distribution"
ROWS: dict[str, dict[str, str]] = {  # bad entries, and the message of each kind of call
    "NaN": {
        "categories": f"{NO_DISTRIBUTION}: . hold NaN",
        "subset": f"{NO_DISTRIBUTION}.*: . hold NaN",
        "binary": "Bernoulli logits are NaN",
        "weights": ">= 0 and finite",
    },
    "+inf": {
        "categories": rf"{NO_DISTRIBUTION}: 0 hold NaN, . hold \+inf",
        "subset": rf"{NO_DISTRIBUTION}.*: 0 hold NaN, . hold \+inf",
        "weights": ">= 0 and finite",
    },
    "masked": {
        "categories": rf"{NO_DISTRIBUTION}.* . are -inf throughout",
        "subset": "fewer than 2 categories that are not masked|are -inf throughout",
        "weights": ">= 0 and finite",
    },
}
BAD_ROWS = {"NaN": [0.0, math.nan, 1.0], "+inf": [0.0, INF, 1.0], "masked": [-INF, -INF, -INF]}
BAD_TAUS: list[Any] = [
    0.0, -1.0, math.nan, INF, "1", None, 1e-300, 1e-46, 1e39, torch.tensor(0.0), leaf(-1.0), torch.ones(2), torch.ones(4, 1),
    torch.tensor(1.0 + 1.0j), torch.tensor(True), torch.tensor(1e-300, dtype=torch.float64),
]  # fmt: skip


def test_the_table_holds_what_is_exported() -> None:
    assert {name.split()[0] for name in FUNCTIONS} | NO_LOGITS == set(functional.__all__)
    assert {name.split()[0] for name in LOSSES} | {
        "balance_loss",
        "commitment_loss",
        "kept_weight_bonus",
        "kl_to_reference",
        "clipped_value_loss",
        "generalized_advantage",
        "marginal_distribution",
        "policy_gradient",
        "ppo_clip",
        "TargetEntropy",
        "routing_loss",
    } >= set(losses.__all__)


@each_call
@pytest.mark.parametrize("row", ROWS)
def test_rows_without_a_distribution(name: str, row: str) -> None:
    call = CALLS[name]
    logits = torch.tensor([[0.0, 1.0, 2.0], BAD_ROWS[row]])
    if row not in (messages := ROWS[row]) and call.kind not in messages:
        call.run(logits, 0.5)  # infinite log-odds are sure choices
        return
    for tau in (0.5, leaf(0.5)) if call.takes_tau else (0.5,):
        with pytest.raises(ValueError, match=messages[call.kind]):
            call.run(logits, tau)


@each_call
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64], ids=str)
def test_logits_that_are_not_floating(name: str, dtype: torch.dtype) -> None:
    if name == "perplexity" and dtype != torch.complex64:
        return  # counts are whole numbers
    with pytest.raises(
        ValueError, match="must be real, got" if dtype.is_complex else r"must be floating, got .*float\(\)"
    ):
        CALLS[name].run(torch.ones(2, 3, dtype=dtype), 0.5)


@each_call
def test_no_categories_and_an_empty_batch(name: str) -> None:
    call = CALLS[name]
    if call.kind != "binary":
        for shape in ((3, 0), (0, 0)):
            with pytest.raises(ValueError, match=r"no category to choose from: .* of shape \(.*0\)"):
                call.run(torch.zeros(shape), 0.5)
    for logits in (torch.zeros(0, 3), torch.zeros(2, 0, 3)):
        for tau in (0.5, leaf(0.5)) if call.takes_tau else (0.5,):
            inputs = leaf(logits)
            for value in torch.utils._pytree.tree_leaves(call.run(inputs, tau)):
                assert value.isfinite().all()
                assert value.ndim or not value  # a mean over nothing is 0
                if value.requires_grad:
                    value.sum().backward(retain_graph=True)
            assert not isinstance(tau, Tensor) or tau.grad is None or tau.grad == 0


@pytest.mark.parametrize("name", WITH_TAU)
def test_temperatures(name: str) -> None:
    for tau in BAD_TAUS:
        with pytest.raises(ValueError, match="tau must be"):
            CALLS[name].run(torch.zeros(2, 3), tau)


def test_a_temperature_that_float32_cannot_hold_is_not_blamed_on_the_logits() -> None:
    for tau, words in ((1e-300, "too small for float32"), (1e39, "too large for float32")):
        with pytest.raises(ValueError, match=words):
            functional.softmax(torch.zeros(3), tau)
    with pytest.raises(ValueError, match=r"backward_tau must be at least .* too small for float32"):
        StraightThrough(backward_tau=1e-300)


@pytest.mark.parametrize(
    ("weights", "words"),
    [([-1.0, 2.0], "1 of 2"), ([0.5, math.nan], "1 of 2"), ([INF, 1.0], "1 of 2"), ([0.0, 0.0], "0 throughout")],
)
def test_weights(weights: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        functional.categorical(torch.tensor(weights))
    if words == "1 of 2":
        with pytest.raises(ValueError, match=words):
            functional.perplexity(torch.tensor(weights))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: functional.leave_one_out(x, torch.zeros(2, 3)),
        lambda x: functional.leave_one_out(torch.zeros(2, 3), x),
        lambda x: functional.policy_gradient(x, torch.zeros(2, 3)),
        lambda x: functional.policy_gradient(torch.zeros(2, 3), x),
        lambda x: functional.policy_gradient(torch.zeros(2, 3), torch.zeros(2, 3), x),
        lambda x: functional.kl_to_reference(x, torch.zeros(2, 3)),
        lambda x: functional.kl_to_reference(torch.zeros(2, 3), x),
        lambda x: losses.ppo_clip(x, torch.zeros(2, 3), torch.zeros(2, 3)),
        lambda x: losses.ppo_clip(torch.zeros(2, 3), torch.zeros(2, 3), x),
        lambda x: losses.clipped_value_loss(torch.zeros(2, 3), x, torch.zeros(2, 3), 0.2),
        lambda x: losses.generalized_advantage(x, *[torch.zeros(2, 3)] * 2, *[torch.zeros(2, 3) > 0] * 2),
        lambda x: losses.TargetEntropy(2)(x),
        lambda x: functional.disarm(x, torch.zeros(2, 3, 1), torch.zeros(3, 1)),
        lambda x: functional.conditional_gumbel(x, torch.zeros(2, dtype=torch.int64)),
        lambda x: functional.conditional_gumbel_top_k(x, torch.zeros(2, 1, dtype=torch.int64)),
        lambda x: functional.gumbel_lookup(x, torch.zeros(4, 3), torch.zeros(4), torch.zeros(4, 2)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64], ids=str)
def test_other_tensors_that_are_not_floating(call: Any, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=r"must be (floating|real), got"):
        call(torch.ones(2, 3, dtype=dtype))


def some(call: Call) -> Tensor:
    """Logits, or weights, of the kind that a call takes."""
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    return logits.exp() if call.kind == "weights" else logits


@each_call
def test_any_floating_dtype_and_default_dtype(name: str) -> None:
    call = CALLS[name]
    for default in (torch.float32, torch.float64):
        torch.set_default_dtype(default)
        try:
            for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
                for value in torch.utils._pytree.tree_leaves(call.run(some(call).to(dtype), 0.5)):
                    assert value.isfinite().all()
        finally:
            torch.set_default_dtype(torch.float32)
