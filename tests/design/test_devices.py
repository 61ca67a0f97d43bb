"""Constraints, oracles and searches on a pretended accelerator, with another default dtype or device, and deterministic."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning import design
from discrete_lightning.design import GaussianProcess, constraints, oracles
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.constraints import Constraint
from discrete_lightning.design.constraints.base import cached_on_device, run_sums
from discrete_lightning.layers.temperature import Scheduled
from tests.design.makers import BASES, CONSTRAINTS, ORACLES, SEARCHES, sequences
from tests.harness.deterministic import Deterministic
from tests.harness.device import PretendDevice


def classes(module: Any, base: type) -> set[str]:
    found = {name for name in module.__all__ if inspect.isclass(getattr(module, name))}
    return {name for name in found - BASES if issubclass(getattr(module, name), base)}


def test_the_tables_hold_what_is_exported() -> None:
    assert classes(constraints, Constraint) <= CONSTRAINTS.keys()
    assert classes(oracles, torch.nn.Module) == ORACLES.keys()
    assert classes(design, design.Search) <= SEARCHES.keys()


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic() -> Iterator[None]:
    """As `Trainer(deterministic=True)` on CUDA."""
    torch.use_deterministic_algorithms(True)
    try:
        with Deterministic():
            yield
    finally:
        torch.use_deterministic_algorithms(False)


# What must not change results: an accelerator without float64, and surroundings that a trainer or a user sets
NETWORKS = (
    "LedidiOracle",
    "OneOutput",
    "SequenceCNN",
    "GB1Surrogate",
    "TangermemeOracle",
)  # are of torch's default dtype
AROUND: dict[str, Any] = {
    "mps": lambda: PretendDevice("mps", float64=False),
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "deterministic": deterministic,
}
around = pytest.mark.parametrize("how", AROUND)


def inputs_of_a_constraint() -> tuple[Tensor, Tensor]:
    tokens = sequences(4, 12)
    logits = torch.nn.functional.one_hot(tokens, 4).to(torch.float32).mul(2)
    return tokens, logits.requires_grad_()


def of_constraint(name: str, tokens: Tensor, logits: Tensor) -> list[Tensor]:
    rule = CONSTRAINTS[name]
    penalty = rule.penalty(torch.softmax(logits, -1), DNA)
    (slope,) = torch.autograd.grad(penalty.sum(), logits)
    return [penalty.detach(), slope, rule.satisfied(tokens, DNA)]


def oracle_and_input(name: str) -> tuple[Any, Tensor]:
    make, letters, length = ORACLES[name]
    torch.manual_seed(0)
    with default_dtype(torch.float32) if name in NETWORKS else nullcontext():
        oracle = make()
    x = torch.nn.functional.one_hot(sequences(letters, length), letters).mT.to(torch.float32)
    return oracle, x.requires_grad_()


def of_oracle(oracle: Any, x: Tensor) -> list[Tensor]:
    scores = oracle(x)
    slopes = torch.autograd.grad(scores.nan_to_num().sum(), x) if scores.requires_grad else ()
    return [scores.detach(), *slopes]


def of_search(search: design.Search) -> list[Any]:
    search.run()
    return [search.designs(5), search.pareto_designs(), search.progress()]


def compared(how: str, make: Callable[[], Any], compute: Callable[..., Any]) -> tuple[Any, Any]:
    """What is computed in these surroundings, and outside. A device is pretended of tensors that were made before."""
    expected = compute(*make())
    made = make() if how == "mps" else None
    cached_on_device.cache_clear()
    try:
        with AROUND[how]():
            return compute(*(made or make())), expected
    finally:
        cached_on_device.cache_clear()


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a.as_subclass(Tensor).nan_to_num(9.0), b.nan_to_num(9.0))
        assert a.dtype == b.dtype


@around
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint(name: str, how: str) -> None:
    assert_equal(*compared(how, inputs_of_a_constraint, partial(of_constraint, name)))


@around
@pytest.mark.parametrize("name", ORACLES)
def test_an_oracle(name: str, how: str) -> None:
    assert_equal(*compared(how, lambda: oracle_and_input(name), of_oracle))


@around
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search(name: str, how: str) -> None:
    found, expected = compared(how, lambda: (SEARCHES[name](),), of_search)
    if how == "mps":  # the noise of an accelerator is another
        assert len(found[0]) == len(expected[0])
        assert all(all(design.checks.values()) for design in found[0])
    else:
        assert found == expected


def test_a_gaussian_process() -> None:
    tokens, scores = sequences(4, 8, count=20), torch.rand(20)
    expected = GaussianProcess(tokens, scores, 4).predict(tokens)
    with PretendDevice("mps", float64=False):
        process = GaussianProcess(tokens, scores, 4)
        found, chosen = process.predict(tokens), process.choose(tokens, 3, 1.0)
        assert chosen.device == tokens.device
    assert_equal(list(found), list(expected))


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_begun_on_the_meta_device(name: str) -> None:
    """Filled from a state, or reset, it does what one begun on a device does."""
    expected = of_search(SEARCHES[name]())
    for filled in (True, False):
        with torch.device("meta"):
            search = SEARCHES[name]()
        empty = [key for key, each in [*search.named_parameters(), *search.named_buffers()] if each.is_meta]
        search = search.to_empty(device="cpu")
        made = dict([*search.named_parameters(), *search.named_buffers()])
        with torch.no_grad():
            for key in empty:
                made[key].fill_(3)
        if filled:
            search.load_state_dict(SEARCHES[name]().state_dict())
        whole = dict(SEARCHES[name]().named_modules())
        for path, module in search.named_modules() if not filled else ():
            if isinstance(module, Scheduled):
                module.set(float(whole[path]()))
            elif hasattr(module, "reset_parameters"):
                module.reset_parameters()
        assert of_search(search) == expected


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_is_checked_under_a_default_meta_device(name: str) -> None:
    sequence = "ACGATGTCAGCA"
    expected = CONSTRAINTS[name].check(sequence)
    cached_on_device.cache_clear()
    with torch.device("meta"):
        assert CONSTRAINTS[name].check(sequence) == expected


def plain(state: Any) -> Any:
    """A nested state with lists in the place of tensors, which can be compared."""
    if isinstance(state, dict):
        return {key: plain(each) for key, each in state.items()}
    if isinstance(state, list | tuple):
        return [plain(each) for each in state]
    return state.tolist() if isinstance(state, torch.Tensor) else state


@pytest.mark.parametrize("name", SEARCHES)
def test_a_checkpoint_of_an_earlier_version(name: str) -> None:
    """It has buffers for the seed, the number of steps and the fitted hyper-parameters."""
    search = SEARCHES[name]()
    for _ in range(2):
        search.advance(lambda loss: loss.backward())
    old = search.state_dict()
    extra = dict(old["_extra_state"])
    old |= {key: torch.tensor(extra.pop(key)) for key in ("seed", "taken")}
    if "fitted" in extra:
        old["fitted"] = torch.tensor(extra.pop("fitted"), dtype=torch.float64)
    loaded = SEARCHES[name]()
    loaded.load_state_dict(old | {"_extra_state": extra})
    assert plain(loaded.get_extra_state()) == plain(search.get_extra_state())
    assert loaded.taken == 2


def test_window_sums_are_those_of_float64() -> None:
    values = torch.rand(3, 500, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for width in (1, 2, 7, 64, 499, 500):
        found, expected = run_sums(values, width), values.double().unfold(-1, width, 1).sum(-1)
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
        slopes = [torch.autograd.grad(each.square().sum(), values)[0] for each in (found, expected)]
        torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-5, atol=1e-5)
    assert torch.equal(run_sums(torch.ones(1000), 999), torch.full((2,), 999.0))
