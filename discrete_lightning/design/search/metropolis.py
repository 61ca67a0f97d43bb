"""Markov chains over sequences, moved by gradients and accepted exactly: samples of exp(-total / T), and the best of them.

One evaluation of the oracle gives the score and the gradient of a proposal; those of the present sequence are kept. With a
falling T this is simulated annealing (Kirkpatrick et al. 1983, https://doi.org/10.1126/science.220.4598.671).
"""

import math
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.constraints import repair
from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.search.base import Optimize, Search
from discrete_lightning.design.search.chain_samples import ChainSamples
from discrete_lightning.design.search.moves import LangevinMoves, Moves
from discrete_lightning.functional import ChainState
from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.schedules import Schedule

_HOT, _COLD = 1.0, 0.01  # the temperatures by default, in units of the change of the total by one letter
_IDLE = 1000  # steps in a row in which no chain has asked the oracle
_LARGEST_SIZE = 1e4
_GAIN, _LEAST_GAIN = 1.0, 0.1  # of the adaptation, in log(size) for each unit of acceptance


class MetropolisSearch(Search):
    """Chains that sample exp(-total / T) over the sequences that satisfy all constraints.

    A proposal that breaks a constraint has probability 0: it is rejected without a call of the oracle. A proposal to stay
    needs no call either. The search ends when the calls are spent, or when all of 1,000 steps in a row asked for none.

    Use it where the distribution is wanted. For the best sequence alone GradientSearch needs far fewer calls
    (`python -m benchmarks.design.pareto`).

    Args:
        calls: the total number of oracle evaluations, at least `chains`.
        chains: the number of independent chains.
        moves: LangevinMoves(), GibbsMoves() or PathMoves().
        temperature: T, in units of the total: a number, or a schedule of the share of the calls that are spent, in [0, 1].
            None: it falls geometrically to a hundredth of its first value, which is the typical change of the total by one
            letter as the gradients of the first sequences predict it.
        burn_in: the share of the calls in [0, 1) in which the size of the moves is adapted to their optimal acceptance, and no
            samples are kept. It is adapted throughout unless the temperature is a number.
        thin: with a temperature that is a number: the sequences of all chains are kept after every `thin` steps, see `samples`.
            None: none are.

    Raises:
        ValueError: a number is out of range, or `thin` is given and the temperature is not a number; or (while it runs) the
            oracle has no gradient.

    Example:
        >>> from discrete_lightning.design import DesignProblem, FromNothing
        >>> from discrete_lightning.design.oracles import TFBind8
        >>> problem = DesignProblem(TFBind8(), FromNothing(8))
        >>> search = MetropolisSearch(calls=500, chains=4, temperature=0.05, thin=10).begin(problem, seed=0)
        >>> search.run()
        >>> search.progress().calls, search.samples().shape[1:]
        (500, torch.Size([4, 8]))
    """

    tokens: Tensor  # int64 (chains, length), where the chains are
    log_density: Tensor  # -total (chains,)
    slopes: Tensor  # of -total, (chains, length, letters)
    unit: Tensor  # the change of the total by one letter
    size: Tensor  # of the moves
    acceptance: Tensor  # sum of the acceptance of all proposals since the burn-in, and their number

    def __init__(
        self,
        calls: int = 2000,
        chains: int = 16,
        moves: Moves | None = None,
        temperature: Schedule | float | None = None,
        burn_in: float = 0.2,
        thin: int | None = None,
    ) -> None:
        super().__init__(chains)
        check_at_least(chains, calls=calls)
        if not 0 <= burn_in < 1:
            raise ValueError(f"burn_in is a share of the calls in [0, 1), got {burn_in}")
        if temperature is not None and not isinstance(temperature, Schedule):
            check_positive(temperature=temperature)
        if isinstance(temperature, Schedule) and temperature.length > 1:
            raise ValueError(
                f"the temperature's counter is the share of the calls, in [0, 1], and {temperature} ends at "
                f"{temperature.length}: give steps=1"
            )
        if thin is not None:
            check_at_least(1, thin=thin)
            if temperature is None or isinstance(temperature, Schedule):
                raise ValueError(
                    f"thin={thin} keeps samples of exp(-total / T), which need one T: give the temperature as a number, "
                    f"got {temperature}"
                )
        self.calls, self.moves = calls, LangevinMoves() if moves is None else moves
        self.temperature, self.burn_in, self.thin = temperature, burn_in, thin
        self._idle, self._since_burn_in = 0, 0  # steps

    def build(self) -> None:
        problem, chains = self.problem, self.chains
        shape = (chains, problem.length, len(problem.alphabet))
        self.register_buffer("tokens", torch.zeros(shape[:2], dtype=torch.int64))
        self.register_buffer("log_density", torch.zeros(chains, dtype=torch.float32))
        self.register_buffer("slopes", torch.zeros(shape, dtype=torch.float32))
        self.register_buffer("unit", torch.ones((), dtype=torch.float32))
        self.register_buffer("size", torch.full((), self.moves.size, dtype=torch.float32))
        self.register_buffer("acceptance", torch.zeros(2, dtype=torch.float32))
        self.chain_samples = ChainSamples(chains, problem.length)

    def reset_parameters(self) -> None:
        """Chains that have not begun; after `to_empty` of a search that was begun on the meta device."""
        for buffer in (self.tokens, self.log_density, self.slopes, self.acceptance):
            buffer.zero_()
        self.unit.fill_(1.0)
        self.size.fill_(self.moves.size)

    def get_extra_state(self) -> dict[str, Any]:
        return super().get_extra_state() | {"idle": self._idle, "since_burn_in": self._since_burn_in}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self._idle, self._since_burn_in = state["idle"], state["since_burn_in"]

    @property
    def done(self) -> bool:
        return self._left <= 0 or self._idle >= _IDLE

    @property
    def _left(self) -> int:
        return self.calls - self.spent

    @property
    def _share(self) -> float:
        return min(1.0, self.spent / self.calls)

    @property
    def mean_acceptance(self) -> float:
        """The mean acceptance probability of the proposals since the burn-in; NaN before its end."""
        total, count = self.acceptance.tolist()
        return total / count if count else math.nan

    def samples(self) -> Tensor:
        """The sequences of all chains after every `thin` steps since the burn-in, int64 (samples, chains, length)."""
        self._require_begun()
        return self.chain_samples.all()

    @torch.no_grad()
    def step(self, optimize: Optimize) -> None:
        with torch.autocast(self.problem.device.type, enabled=False):
            if self.taken:
                self._move()
            else:
                self._start()
        self.taken += 1

    def _start(self) -> None:
        problem, generator = self.problem, self.generator(0)
        if problem.initial_sequences is None:
            weights = problem.allowed.float().expand(self.chains, -1, -1).flatten(0, 1)
            tokens = torch.multinomial(weights, 1, generator=generator).view(self.chains, -1)
        else:
            chains = torch.arange(self.chains, device=problem.device)
            tokens = problem.initial_sequences[chains % len(problem.initial_sequences)]
        tokens, kept = repair(problem.rules, tokens, generator, fallback=problem.feasible_example)
        good = kept.nonzero().flatten()  # a chain whose sequence was not repaired begins where another one does
        tokens = tokens[torch.where(kept, torch.arange(self.chains, device=problem.device), good[0])]
        self.tokens.copy_(tokens)
        value, slopes = self._evaluate(tokens, torch.arange(self.chains, device=problem.device))
        self.log_density.copy_(value)
        self.slopes.copy_(slopes)
        change = (slopes - slopes.gather(-1, tokens.unsqueeze(-1)))[:, problem.allowed]
        unit = change[change.isfinite()].square().sum().div((change != 0).sum().clamp_min(1)).sqrt()
        self.unit.copy_(torch.where((unit > 0) & unit.isfinite(), unit, 1.0))

    def _move(self) -> None:
        problem, share, before = self.problem, self._share, self.problem.evaluator.count
        evaluated: dict[str, Tensor] = {}
        chains = min(self.chains, self._left)  # at the end some stay where they are

        def log_density(proposed: Tensor) -> tuple[Tensor, Tensor]:
            value = torch.full_like(self.log_density[:chains], -torch.inf)
            slopes = torch.zeros_like(self.slopes[:chains])
            asked = (proposed != self.tokens[:chains]).any(-1) & problem.feasible(proposed)
            rows = asked.nonzero().flatten()
            if len(rows):
                value[rows], slopes[rows] = self._evaluate(proposed[rows], rows)
            evaluated["asked"] = asked
            return value, slopes

        state = ChainState(self.tokens[:chains], self.log_density[:chains], self.slopes[:chains])
        step = self.moves.step(
            state, log_density, float(self.size), self._temperature(share), problem.allowed, self.generator(self.taken)
        )
        for buffer, after in zip((self.tokens, self.log_density, self.slopes), step.state, strict=True):
            buffer[:chains] = after
        self._idle = 0 if problem.evaluator.count > before else self._idle + 1
        burning = share < self.burn_in
        if self.moves.target is not None and (burning or not isinstance(self.temperature, int | float)):
            gain = max(_LEAST_GAIN, _GAIN / math.sqrt(self.taken))
            size = float(self.size) * math.exp(gain * (float(step.acceptance.mean()) - self.moves.target))
            self.size.fill_(min(max(size, self.moves.least), _LARGEST_SIZE))
        if not burning:
            self.acceptance += torch.stack([step.acceptance.sum(), step.acceptance.new_tensor(float(chains))])
            self._since_burn_in += 1
            if self.thin is not None and self._since_burn_in % self.thin == 0 and chains == self.chains:
                self.chain_samples.append(self.tokens)

    def _temperature(self, share: float) -> float:
        if self.temperature is None:
            return float(self.unit) * _HOT * (_COLD / _HOT) ** share
        return self.temperature(share) if isinstance(self.temperature, Schedule) else self.temperature

    def _evaluate(self, tokens: Tensor, chains: Tensor) -> tuple[Tensor, Tensor]:
        """-total (N,) and its gradient (N, length, letters); each sequence is one evaluation, and is recorded."""
        problem = self.problem
        x = problem.one_hot(tokens)
        found = problem.evaluator.evaluate(x, gradient=True, require_differentiable=True)
        assert found.gradient is not None
        self.record(tokens, Evaluation(found.scores, found.components), chains)
        with torch.enable_grad():
            scores = found.scores.clamp(-1e30, 1e30).requires_grad_()
            (slope,) = torch.autograd.grad(problem.goal.loss(scores).sum(), scores)
        gradient = -slope.view(-1, 1, 1) * found.gradient
        if problem.template is not None:
            gradient = gradient + problem.start.edit_weight * problem.one_hot(problem.template)
        return -problem.total(found.scores, tokens), gradient
