"""The moves keep the density: transition matrices by enumeration in float64, long runs against the exact distribution."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import (
    ChainState,
    MetropolisStep,
    begin_chains,
    discrete_langevin,
    gibbs_with_gradients,
    path_auxiliary,
)

LENGTH, LETTERS, T, ALPHA, FLIPS = 3, 3, 0.7, 0.8, 2
MASK = torch.tensor([[True, True, False], [True, True, True], [False, True, False]])  # the last position is frozen
EVERY = torch.cartesian_prod(*[torch.arange(LETTERS)] * LENGTH)


class Energy:
    """log pi with fields and couplings of all pairs; -inf where the letters sum to `banned`."""

    def __init__(self, banned: int | None = None, coupling: float = 0.3, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(3)
        size = LENGTH * LETTERS
        self.field = 0.7 * torch.randn(size, generator=generator).to(dtype)
        self.pairs = coupling * torch.randn(size, size, generator=generator).to(dtype)
        self.banned = banned
        self.calls = 0

    def __call__(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        x = torch.nn.functional.one_hot(tokens, LETTERS).flatten(-2).to(self.field)
        value = x @ self.field + ((x @ self.pairs) * x).sum(-1)
        slope = self.field + x @ (self.pairs + self.pairs.T)
        if self.banned is not None:
            gone = tokens.sum(-1) == self.banned
            value = value.masked_fill(gone, -math.inf)
            slope = slope.masked_fill(gone.unsqueeze(-1), math.nan)
        return value, slope.view(*tokens.shape, LETTERS)


def support(energy: Energy, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The allowed sequences of positive density, and their probabilities at temperature T."""
    kept = torch.ones(len(EVERY), dtype=torch.bool)
    if mask is not None:
        kept = mask.expand(len(EVERY), -1, -1).gather(-1, EVERY.unsqueeze(-1)).all(1).squeeze(-1)
    tokens = EVERY[kept]
    value, _ = energy(tokens)
    return tokens[value > -math.inf], (value[value > -math.inf] / T).softmax(0)


def weight(gradient: Tensor, x: list[int], place: int, letter: int, mask: Tensor | None) -> float:
    """exp of half the predicted change, or 0."""
    if mask is not None and not mask[place, letter]:
        return 0.0
    return math.exp(float(gradient[place, letter] - gradient[place, x[place]]) / (2 * T))


# Each gives all (proposal, log q, tensors that force the draw) from one sequence, by plain loops over the papers' formulas
Path = tuple[list[int], float, list[Tensor]]


def langevin_paths(x: list[int], gradient: Tensor, mask: Tensor | None) -> list[Path]:
    rows = []
    for place in range(LENGTH):
        row = [
            weight(gradient, x, place, k, mask) * math.exp(-(k != x[place]) / ALPHA)  # squared distance 2 over 2 alpha
            for k in range(LETTERS)
        ]
        rows.append([each / sum(row) for each in row])
    every = [y.tolist() for y in EVERY]
    return [(y, math.prod(rows[i][k] for i, k in enumerate(y)), [torch.tensor(y)]) for y in every]


def gibbs_paths(x: list[int], gradient: Tensor, mask: Tensor | None) -> list[Path]:
    moves = [(i, k) for i in range(LENGTH) for k in range(LETTERS) if k != x[i]]
    weights = [weight(gradient, x, i, k, mask) for i, k in moves]
    found = []
    for (i, k), each in zip(moves, weights, strict=True):
        y = list(x)
        y[i] = k
        found.append((y, each / sum(weights), [torch.tensor(i * LETTERS + k)]))
    return found


def auxiliary_paths(x: list[int], gradient: Tensor, mask: Tensor | None) -> list[Path]:
    table = [[weight(gradient, x, i, k, mask) if k != x[i] else 0.0 for k in range(LETTERS)] for i in range(LENGTH)]
    free = [i for i in range(LENGTH) if sum(table[i])]
    found = []
    for order in itertools.permutations(free, min(FLIPS, len(free))):
        for letters in itertools.product(range(LETTERS), repeat=len(order)):
            y, q, left = list(x), 1.0, set(free)
            for i, k in zip(order, letters, strict=True):
                q *= table[i][k] / sum(sum(table[j]) for j in left)
                left -= {i}
                y[i] = k
            noise = torch.zeros(LENGTH)
            for rank, i in enumerate(order):
                noise[i] = 1e6 / (1 + rank)
            found.append((y, q, [noise, torch.tensor(y)]))
    return found


Step = Callable[..., MetropolisStep]
METHODS: dict[str, tuple[Step, Callable[..., list[Path]], list[str]]] = {
    "langevin": (lambda s, f, **k: discrete_langevin(s, f, ALPHA, T, **k), langevin_paths, ["gumbel_max"]),
    "gibbs": (lambda s, f, **k: gibbs_with_gradients(s, f, T, **k), gibbs_paths, ["gumbel_max"]),
    "path": (lambda s, f, **k: path_auxiliary(s, f, FLIPS, T, **k), auxiliary_paths, ["gumbel_noise", "gumbel_max"]),
}
each_method = pytest.mark.parametrize("name", METHODS)
settings = pytest.mark.parametrize(
    ("mask", "banned"), [(None, None), (MASK, None), (None, 3), (MASK, 4)], ids=["all", "mask", "rule", "both"]
)


@settings
@each_method
def test_the_transition_matrix_keeps_the_density(
    name: str, mask: Tensor | None, banned: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pi_x P_xy = pi_y P_yx for all x and y, with q from loops over the formulas, and the acceptance from the code."""
    step, paths, drawn = METHODS[name]
    energy = Energy(banned)
    tokens, pi = support(energy, mask)
    _, gradients = energy(tokens)
    index = {tuple(row): i for i, row in enumerate(tokens.tolist())}
    starts, ends, q = [], [], []
    forced: list[list[Tensor]] = [[] for _ in drawn]
    for x, gradient in zip(tokens.tolist(), gradients, strict=True):
        possible = paths(x, gradient, mask)
        assert sum(each for _, each, _ in possible) == pytest.approx(1.0)
        for y, each, how in possible:
            if each > 0:
                starts.append(x)
                ends.append(tuple(y))
                q.append(each)
                for column, value in zip(forced, how, strict=True):
                    column.append(value)
    module = __import__(f"discrete_lightning.functional.{step_module(name)}", fromlist=["x"])
    for function, values in zip(drawn, forced, strict=True):
        monkeypatch.setattr(module, function, partial(constant, torch.stack(values)))
    state = begin_chains(torch.tensor(starts), energy)
    acceptance = step(state, energy, allowed=mask).acceptance
    assert acceptance.dtype == torch.float64
    matrix = torch.zeros(len(tokens), len(tokens), dtype=torch.float64)
    for x, y, each, accepted in zip(starts, ends, q, acceptance.tolist(), strict=True):
        if y in index:
            matrix[index[tuple(x)], index[y]] += each * accepted
        else:
            assert accepted == 0
    matrix += torch.diag(1 - matrix.sum(1))
    assert float(matrix.min()) > -1e-12
    flow = pi.unsqueeze(1) * matrix
    torch.testing.assert_close(flow, flow.T, atol=1e-12, rtol=0)
    torch.testing.assert_close(pi @ matrix, pi, atol=1e-12, rtol=0)
    if name != "path":  # two flips a step alone do not reach all sequences
        assert float(torch.matrix_power(matrix, 100_000)[0].sub(pi).abs().max()) < 1e-9


def constant(value: Tensor, *_: Any, **__: Any) -> Tensor:
    return value


def step_module(name: str) -> str:
    return {"langevin": "discrete_langevin", "gibbs": "gibbs_with_gradients", "path": "path_auxiliary"}[name]


@settings
@each_method
def test_many_chains_reach_the_exact_distribution(name: str, mask: Tensor | None, banned: int | None) -> None:
    """6,000 chains from one sequence: chi-square of where they are, below its .999 quantile."""
    energy = Energy(banned, dtype=torch.float32)
    tokens, pi = support(energy, mask)
    generator = torch.Generator().manual_seed(0)
    state = begin_chains(tokens[:1].expand(20, 300, LENGTH), energy)
    for number in range(60):
        if name == "path":
            step = path_auxiliary(state, energy, 1 + number % 2, T, allowed=mask, generator=generator)
        else:
            step = METHODS[name][0](state, energy, allowed=mask, generator=generator)
        assert step.accepted.shape == step.acceptance.shape == (20, 300)
        state = step.state
    value, gradient = energy(state.tokens)
    assert torch.equal(state.log_density, value)
    assert torch.equal(state.gradient, gradient)
    code = torch.tensor([LETTERS**2, LETTERS, 1])
    counts = torch.bincount((state.tokens.flatten(0, 1) * code).sum(-1), minlength=LETTERS**LENGTH).double()
    expected = 6000 * pi.double()
    found = counts[(tokens * code).sum(-1)]
    assert found.sum() == 6000  # nothing outside of the support
    degrees = len(tokens) - 1
    statistic = float(((found - expected).square() / expected).sum())
    bound = degrees * (1 - 2 / (9 * degrees) + 3.09 * math.sqrt(2 / (9 * degrees))) ** 3  # Wilson and Hilferty 1931
    assert statistic < bound


@each_method
def test_one_evaluation_a_step(name: str) -> None:
    energy = Energy()
    state = begin_chains(EVERY, energy)
    for _ in range(5):
        state = METHODS[name][0](state, energy).state
    assert energy.calls == 6


def test_acceptance_of_a_linear_density() -> None:
    """The gradient is exact, so only the normalisers differ: Z(x) / Z(y) (Zanella 2020), and nothing for a flat density."""
    energy = Energy(coupling=0.0)
    state = begin_chains(EVERY, energy)
    step = gibbs_with_gradients(state, energy, T, generator=torch.Generator().manual_seed(0))
    change = (state.gradient - state.gradient.gather(-1, state.tokens.unsqueeze(-1))) / (2 * T)
    normaliser = change.exp().sum((-2, -1)) - LENGTH
    where = step.accepted.nonzero().flatten()
    after = {tuple(row): float(z) for row, z in zip(EVERY.tolist(), normaliser, strict=True)}
    for row in where.tolist():
        ratio = float(normaliser[row]) / after[tuple(step.state.tokens[row].tolist())]
        assert float(step.acceptance[row]) == pytest.approx(min(1.0, ratio))

    def flat(tokens: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(tokens.shape[:-1]), torch.zeros(*tokens.shape, LETTERS)

    for method, _, _ in METHODS.values():
        torch.testing.assert_close(method(begin_chains(EVERY, flat), flat).acceptance, torch.ones(27))


@pytest.mark.parametrize("scale", [1e4, 1e30, 3e38])
@each_method
def test_extreme_gradients_give_probabilities(name: str, scale: float) -> None:
    def steep(tokens: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.nn.functional.one_hot(tokens, LETTERS).float()
        gradient = scale * torch.tensor([-1.0, 0.5, 1.0]).expand_as(x)
        return (x * gradient / scale).sum((-2, -1)), gradient

    state = begin_chains(EVERY, steep)
    step = METHODS[name][0](state, steep, generator=torch.Generator().manual_seed(0))
    assert bool(((step.acceptance >= 0) & (step.acceptance <= 1)).all())


@each_method
def test_chains_leave_a_sequence_of_density_0_and_never_enter_one(name: str) -> None:
    energy = Energy(banned=3)
    start = EVERY[EVERY.sum(-1) == 3]
    state = begin_chains(start, energy)
    assert bool((state.log_density == -math.inf).all())
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        state = METHODS[name][0](state, energy, generator=generator).state
    assert bool((state.tokens.sum(-1) != 3).all())
    again = state
    for _ in range(20):
        again = METHODS[name][0](again, energy, generator=generator).state
        assert bool((again.tokens.sum(-1) != 3).all())


@each_method
def test_frozen_everywhere_stays(name: str) -> None:
    mask = torch.nn.functional.one_hot(torch.tensor([1, 0, 2]), LETTERS).bool()
    state = begin_chains(torch.tensor([[1, 0, 2]] * 3), Energy())
    step = METHODS[name][0](state, Energy(), allowed=mask)
    assert torch.equal(step.state.tokens, state.tokens)
    assert step.acceptance.tolist() == [1.0] * 3


@each_method
def test_narrow_densities_are_computed_in_float32(name: str) -> None:
    energy = Energy(dtype=torch.bfloat16)
    state = begin_chains(EVERY, energy)
    step = METHODS[name][0](state, energy, generator=torch.Generator().manual_seed(0))
    for each in (state, step.state):
        assert (each.log_density.dtype, each.gradient.dtype) == (torch.float32, torch.float32)


@each_method
def test_a_generator_repeats_a_step(name: str) -> None:
    state = begin_chains(EVERY, Energy())
    steps = [METHODS[name][0](state, Energy(), generator=torch.Generator().manual_seed(i)).state for i in (0, 0, 1)]
    assert torch.equal(steps[0].tokens, steps[1].tokens)
    assert not torch.equal(steps[0].tokens, steps[2].tokens)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda x: (torch.full(x.shape[:-1], math.nan), torch.zeros(*x.shape, 3)), "27 of 27 log densities are NaN or"),
        (lambda x: (torch.full(x.shape[:-1], math.inf), torch.zeros(*x.shape, 3)), "are NaN or [+]inf"),
        (lambda x: (torch.zeros(5), torch.zeros(*x.shape, 3)), r"log density of tokens .* got \(5,\) for \(27, 3\)"),
        (lambda x: (torch.zeros(x.shape[:-1]), torch.zeros(27, 9)), r"gradient of tokens .* got \(27, 9\)"),
        (lambda x: (torch.zeros(x.shape[:-1], dtype=torch.int64), torch.zeros(*x.shape, 3)), "must be floating"),
    ],
)
def test_wrong_densities_are_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        begin_chains(EVERY, value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, f: discrete_langevin(s, f, 0.0), "step_size must be positive"),
        (lambda s, f: path_auxiliary(s, f, 0), "flips must be at least 1"),
        (lambda s, f: gibbs_with_gradients(s, f, 0.0), "temperature must be positive"),
        (lambda s, f: gibbs_with_gradients(s, f, allowed=MASK), "letters of the chains are not allowed"),
        (lambda s, f: begin_chains(s.tokens.float(), f), "tokens must be integers"),
    ],
)
def test_wrong_arguments_are_refused(call: Callable[[ChainState, Energy], Any], message: str) -> None:
    energy = Energy()
    with pytest.raises(ValueError, match=message):
        call(begin_chains(EVERY, energy), energy)
