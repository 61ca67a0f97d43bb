"""Ehrlich functions against a naive reading of the definition, and against pytorch-holo where it is installed."""

import importlib
import importlib.util
import math
import sys
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.design.oracles import Ehrlich

SIZES = [(8, 16, 2, 4, 4, 0.0), (8, 20, 2, 4, 2, 0.0), (32, 32, 4, 4, 4, 0.0), (10, 33, 3, 6, 3, 0.5)]


def one_hot(tokens: Tensor, letters: int) -> Tensor:
    return torch.nn.functional.one_hot(tokens, letters).mT.float()


def near_solutions(oracle: Ehrlich, count: int, seed: int) -> Tensor:
    """Random sequences, and the solution with some letters changed, so that all levels of the function occur."""
    generator = torch.Generator().manual_seed(seed)
    random = torch.randint(oracle.letters, (count, oracle.length), generator=generator)
    chance = torch.rand(count, oracle.length, generator=generator)
    share = torch.linspace(0, 0.5, count).unsqueeze(1)
    repeated = random[:, :1].expand(-1, oracle.length)  # repeats are never banned
    return torch.cat([random, torch.where(chance < share, random, oracle.solution()), repeated])


def naive(oracle: Ehrlich, tokens: list[int], quantization: int) -> float:
    if any(oracle.transitions[a, b] == 0 for a, b in pairwise(tokens)):
        return -math.inf
    value = 1.0
    for motif, offsets in zip(oracle.motif_letters.tolist(), oracle.offsets.tolist(), strict=True):
        size = len(motif)
        step = math.ceil(size / quantization)
        most = 0.0
        for start in range(len(tokens) - offsets[-1]):
            hits = sum(tokens[start + offset] == letter for offset, letter in zip(offsets, motif, strict=True))
            most = max(most, (hits // step) / (size / step))
        value *= most * (1 + oracle.epistasis * most * (most - 1))
    return value


@pytest.mark.parametrize(("letters", "length", "motifs", "size", "quantization", "epistasis"), SIZES)
def test_definition(letters: int, length: int, motifs: int, size: int, quantization: int, epistasis: float) -> None:
    oracle = Ehrlich(letters, length, motifs, size, quantization, epistasis, seed=3)
    tokens = near_solutions(oracle, 100, seed=1)
    expected = torch.tensor([naive(oracle, row.tolist(), quantization) for row in tokens])
    torch.testing.assert_close(oracle(one_hot(tokens, letters)), expected)
    assert len(expected[expected.isfinite()].unique()) > 2
    assert float(oracle(one_hot(oracle.solution()[None], letters))) == 1.0


class TestFunction(torch.nn.Module):
    """What holo's functions need of botorch, which is large: a base class that they hand noise and bounds to."""

    __test__ = False  # no class of tests

    def __init__(self, **_: Any) -> None:
        super().__init__()


@pytest.fixture
def holo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """holo's closed forms, from pytorch-holo alone: without botorch, and without its tables and what downloads them."""
    if importlib.util.find_spec("holo") is None:
        pytest.skip("pytorch-holo is not installed")
    stubs = {name: ModuleType(name) for name in ("botorch", "botorch.test_functions", "holo.test_functions.lookup")}
    stubs["botorch.test_functions"].SyntheticTestFunction = TestFunction  # type: ignore[attr-defined]
    for table in ("DHFRLookup", "TFBIND8Lookup", "TRPBLookup"):
        setattr(stubs["holo.test_functions.lookup"], table, None)
    for name, stub in stubs.items():
        monkeypatch.setitem(sys.modules, name, stub)
    return importlib.import_module("holo.test_functions.closed_form")


@pytest.mark.parametrize(("letters", "length", "motifs", "size", "quantization", "epistasis"), SIZES)
@pytest.mark.parametrize("seed", range(5))
def test_parity_with_holo(
    letters: int, length: int, motifs: int, size: int, quantization: int, epistasis: float, seed: int, holo: Any
) -> None:
    theirs = holo.Ehrlich(letters, length, motifs, size, quantization, epistasis, random_seed=seed)
    ours = Ehrlich(letters, length, motifs, size, quantization, epistasis, seed=seed)
    assert torch.equal(ours.motif_letters, torch.stack(list(theirs.motifs)))
    assert torch.equal(ours.offsets[:, 1:], torch.stack(theirs.spacings).cumsum(1))
    assert torch.equal(ours.transitions == 0, theirs.transition_matrix == 0)
    tokens = near_solutions(ours, 100, seed)
    torch.testing.assert_close(ours(one_hot(tokens, letters)), theirs._evaluate_true(tokens).float())
    assert torch.equal(ours.solution(), theirs.optimal_solution())


def test_gradient_points_to_the_missing_letter() -> None:
    """One letter short of the optimum, the single edit that the gradient likes best completes the motif."""
    oracle = Ehrlich(8, 16, 2, 4, seed=0)
    tokens = oracle.solution()
    place = int(oracle.offsets[0, 1])
    wanted = int(tokens[place])
    tokens[place] = tokens[place - 1]
    x = one_hot(tokens[None], 8).requires_grad_()
    value = oracle(x)
    assert value.item() == 0.75
    (slope,) = torch.autograd.grad(value.sum(), x)
    change = slope[0] - slope[0].gather(0, tokens[None])
    assert divmod(int(change.argmax()), 16) == (wanted, place)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"length": 15, "motifs": 4, "motif_length": 4}, "motifs * motif_length <= length"),
        ({"quantization": 5}, "quantization must divide motif_length=4"),
    ],
)
def test_refuses(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError) as error:
        Ehrlich(**arguments)
    assert words in str(error.value)


def test_refuses_another_shape() -> None:
    with pytest.raises(ValueError, match=r"takes \(batch, 8, 16\), got \(2, 16, 8\)"):
        Ehrlich(8, 16, 2, 4)(torch.zeros(2, 16, 8))
