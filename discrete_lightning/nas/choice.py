"""The architecture parameters (alpha) of a network that is searched, and the samples drawn from them.

    logits (count, K) -> estimator -> sample (count, K) -> OneOf: which operation runs, or how much of each

The noise of a draw is a function of a seed and of the number of the draw. Both are kept in checkpoints: a resumed run draws
what it would have drawn, and all ranks draw the same.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import broadcast_, world_size
from discrete_lightning.estimators import Estimator, GumbelSoftmax, Softmax
from discrete_lightning.functional import categorical_one_hot
from discrete_lightning.functional._checks import host_number
from discrete_lightning.functional._random import numbered_seed
from discrete_lightning.functional._torch_private import in_backward
from discrete_lightning.layers.choices import choices_made, not_counted
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.private_state import PrivateState
from discrete_lightning.layers.relaxed import RelaxedCategorical
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.nas.draw import Draw

_SEEDS = 2**62
_REMEMBERED = 256


class ArchitectureChoice(Float32State, PrivateState):
    """The architecture parameters of `count` choices among the same `options`; a OneOf uses one row of them, or shares it.

    In training it is sampled by the estimator. In eval() it is `decide()`: the most likely options, within the cost limit if
    there is one. Logits start at zero: all options are equally likely.

    Args:
        options: names of the K >= 1 options, all different.
        count: number of choices >= 1.
        estimator: samples the options and passes the gradient to the logits; StraightThroughGumbel by default.
        temperature: a Temperature, or a number for a new one.

    Attributes:
        logits: the architecture parameters, float32 (count, K).
        costs: of each option of each choice, float32 (count, K); 0 if nothing is measured.
        fixed_cost: what all architectures cost.
        limit: of the cost of a decision; inf: no limit.
        seed, draws: of the noise, and the number of draws so far. These four are Python numbers (see `PrivateState`):
            reading them stops no device, and what averages or casts the buffers of a model leaves them alone.

    Raises:
        ValueError: if there is nothing to choose from, or two options have one name.

    Example:
        >>> choice = ArchitectureChoice(["skip", "conv"], count=3).eval()
        >>> with torch.no_grad():
        ...     choice.logits[0, 1] = 2.0
        >>> choice.decided()
        ['conv', 'skip', 'skip']
    """

    costs: Tensor
    fixed_cost: float
    limit: float
    seed: int
    draws: int

    def __init__(
        self,
        options: Sequence[str],
        count: int = 1,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
    ) -> None:
        super().__init__()
        if not options or count < 1:
            raise ValueError(f"a choice needs one option or more and count >= 1, got {len(options)} options, {count}")
        if len(set(options)) < len(options):
            raise ValueError(f"a choice needs options of different names, got {', '.join(options)}")
        self.options, self.count = tuple(options), count
        self.logits = nn.Parameter(torch.zeros(count, len(options), dtype=torch.float32))
        self.sampler = RelaxedCategorical(estimator, temperature)
        self.sampler.require_softmax(type(self).__name__)
        self.register_buffer("costs", torch.zeros(count, len(options), dtype=torch.float32))
        self.register_number("fixed_cost", 0.0)
        self.register_number("limit", math.inf)
        self.register_number("seed", int(torch.randint(_SEEDS, (), device="cpu")))
        self.register_number("draws", 0)
        self._held: Draw | None = None
        # of recent forward passes: the draw that was fixed, or the number of a new one
        self._used: dict[int, Draw | int] = {}
        # what the last decision was made of (logits and costs on the CPU; numbers), and the decision
        self._decided: tuple[Tensor, tuple[float, float], Draw] | None = None
        self._is_compared = False
        self._agreed = False

    def reset_parameters(self) -> None:
        """Logits and costs of 0, as at the start; after `to_empty` of a module that was built on the meta device."""
        with torch.no_grad():
            self.logits.zero_()
            self.costs.zero_()

    def __getstate__(self) -> dict[str, Any]:
        """A copy keeps the draw that is in use, detached: a tensor with a graph cannot be copied."""
        held = self._held and self._held.detach()
        return {**self.__dict__, "_held": held, "_used": {}, "_decided": None, "_is_compared": False}

    def extra_repr(self) -> str:
        return f"options={self.options}, count={self.count}"

    @property
    def mixes(self) -> bool:
        """Whether samples are mixtures rather than one-hot."""
        return isinstance(self.sampler.estimator, GumbelSoftmax | Softmax)

    @torch.compiler.disable  # which option runs is decided by Python, and a compiler would draw other noise
    def current(self) -> Draw:
        """What a OneOf runs now: the draw that `one_draw`, `hold_architecture` or `expected_loss` fixed; otherwise a new draw
        in training, and the decision in eval().

        Activation checkpointing runs a forward pass again during the backward pass, when the `with` block is over. It gets the
        draw that it had the first time: draws are remembered under a number from the default generator, whose state
        checkpointing restores.
        """
        if not self.sampler.training:
            return self._held if self._held is not None else self._decision()
        key = int(host_number(torch.randint(_SEEDS, (), device="cpu")))
        if in_backward() and key in self._used:
            used = self._used[key]
            return used if isinstance(used, Draw) else self._sampled(self._generator(used), gradient=True)
        used = self._held if self._held is not None else self._next_number()
        self._used[key] = used
        if len(self._used) > _REMEMBERED:
            del self._used[next(iter(self._used))]
        return used if isinstance(used, Draw) else self._sampled(self._generator(used), gradient=True)

    def forward(self) -> Tensor:
        """The current sample, (count, K), float32."""
        draw = self.current()
        return draw.sample.clone() if draw.decision else draw.sample

    def draw(self, gradient: bool = True) -> Draw:
        """A new sample.

        Args:
            gradient: whether it carries a gradient to the logits. If not, estimators that need the loss's value can be used,
                too.
        """
        return self._sampled(self.next_generator(), gradient)

    def _sampled(self, generator: torch.Generator, gradient: bool) -> Draw:
        estimator = self.sampler.estimator
        if gradient:
            sample = estimator(self.logits, self.sampler.temperature(), generator)
        elif estimator.pathwise:
            with torch.no_grad():
                sample = estimator(self.logits, self.sampler.temperature(), generator)
        else:
            sample = categorical_one_hot(self.logits, generator=generator)
        return Draw(sample)

    def next_generator(self) -> torch.Generator:
        """The source of the next draw's noise; the same on all ranks."""
        return self._generator(self._next_number())

    def _next_number(self) -> int:
        if world_size() > 1 and not self._agreed:  # at the first draw: modules are built before the group
            of_rank_0 = broadcast_(torch.tensor([self.seed, self.draws], device=self.logits.device))
            self.seed, self.draws = of_rank_0.tolist()
            self._agreed = True
        self.draws += 1
        return self.draws - 1

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator(device=self.logits.device).manual_seed(numbered_seed(self.seed, number))

    def scores(self) -> Tensor:
        """Log-probabilities (count, K), float32; `decide` takes the largest of each row. -inf: the option is not allowed."""
        return torch.log_softmax(self.logits.detach().float(), -1)

    def fallback_scores(self) -> Tensor:
        """Scores that `decide` uses instead of `scores` if no decision of these is within the cost limit."""
        return self.scores()

    @torch.no_grad()
    def decide(self) -> list[int]:
        """The index of the most likely option of each choice; with a cost limit, the most likely found within it.

        While the cost is above the limit, a greedy search replaces the option that loses the least log-probability for each
        unit of cost saved. Then it returns to more likely options where they fit again.

        Raises:
            ValueError: if nothing is within the limit.
        """
        scores, costs = self.scores().cpu().double(), self.costs.cpu().double()
        best = scores.argmax(-1)
        room = self.limit - self.fixed_cost
        rows = torch.arange(self.count)
        if float(costs[rows, best].sum()) <= room:
            return best.tolist()
        if self._least(scores) > self.limit:
            self.check_limit()
            scores = self.fallback_scores().cpu().double()
            best = scores.argmax(-1)
        chosen = best.clone()
        while float(costs[rows, chosen].sum()) > room:
            lost = scores[rows, chosen].unsqueeze(1) - scores
            saved = costs[rows, chosen].unsqueeze(1) - costs
            price = torch.where(saved > 0, lost.clamp_min(0) / saved, math.inf)
            row, option = divmod(int(price.argmin()), len(self.options))
            chosen[row] = option
        for row in (scores[rows, best] - scores[rows, chosen]).argsort(descending=True).tolist():
            others = float(costs[rows, chosen].sum() - costs[row, chosen[row]])
            fits = torch.where(others + costs[row] <= room, scores[row], -math.inf)
            chosen[row] = fits.argmax()
        return chosen.tolist()

    def check_limit(self) -> None:
        """Raises ValueError if no decision is within the cost limit."""
        least = min(self._least(self.scores()), self._least(self.fallback_scores()))
        if least > self.limit:
            raise ValueError(
                f"the cost is limited to {self.limit:,.6g}, and the cheapest of all choices costs {least:,.6g}: "
                "raise the target, make the network narrower, or offer cheaper options"
            )

    def _least(self, scores: Tensor) -> float:
        """The cost of the cheapest decision among those of finite score."""
        possible = torch.where(scores.cpu() > -math.inf, self.costs.cpu().double(), math.inf)
        return float(possible.amin(-1).sum()) + self.fixed_cost

    def decided(self) -> list[str]:
        """Names of the decided options."""
        return [self.options[index] for index in self.decide()]

    def indices(self, names: Sequence[str]) -> list[int]:
        """Indices of these options, one for each choice.

        Raises:
            ValueError: if their number is another one, or a name is unknown.
        """
        return option_indices(self.options, self.count, names)

    def cost(self, indices: Sequence[int]) -> float:
        """The cost of a decision: `fixed_cost` and that of each option, in the units of `costs`."""
        return self.fixed_cost + float(self.costs.cpu().double()[range(self.count), list(indices)].sum())

    def expected_cost(self) -> Tensor:
        """The mean cost over softmax(logits), exact since the cost is linear in the sample; with gradient."""
        return self.fixed_cost + (torch.softmax(self.logits.float(), -1) * self.costs).sum()

    @contextmanager
    def compared_once(self) -> Iterator[None]:
        """Inside, the decision of eval() is compared with logits, costs and limit at the beginning alone, not by each OneOf."""
        if not self.sampler.training:
            self.current()
            self._is_compared = True
        try:
            yield
        finally:
            self._is_compared = False

    @torch.no_grad()
    def _decision(self) -> Draw:
        """The result of `decide`, computed again only when logits, costs or the limit have changed.

        Values are compared, not version counters: a change through `.data`, as weight averaging makes it, has none.
        """
        known, device = self._decided, self.logits.device
        if known is not None and self._is_compared:
            return known[2]
        state, numbers = torch.cat([self.logits.flatten(), self.costs.flatten()]).cpu(), (self.fixed_cost, self.limit)
        if known is None or known[1] != numbers or not torch.equal(known[0], state):
            known = state, numbers, self._as_draw(self.decide())
        elif known[2].sample.device != device:
            known = state, numbers, self._as_draw(known[2].indices)
        self._decided = known
        return known[2]

    def _as_draw(self, indices: Sequence[int]) -> Draw:
        with torch.inference_mode(False):  # it is kept, and may be used in training later
            sample = nn.functional.one_hot(torch.tensor(list(indices), device="cpu"), len(self.options))
            return Draw(sample.to(self.logits.dtype).to(self.logits.device), list(indices), decision=True)


def option_indices(options: Sequence[str], count: int, names: Sequence[str]) -> list[int]:
    """Indices of `count` names among the options; see `ArchitectureChoice.indices`."""
    unknown = [name for name in names if name not in options]
    if len(names) != count or unknown:
        raise ValueError(
            f"an architecture of this space is {count} of {', '.join(options)}; got {len(names)}: "
            f"{', '.join(map(str, names))}" + (f" ({', '.join(map(str, unknown))} unknown)" if unknown else "")
        )
    return [options.index(name) for name in names]


# SearchMonitor watches architectures: the sampler inside is not called as a layer, so ChoiceMonitor could not count it.
choices_made.register(ArchitectureChoice, not_counted)
