"""The searches of `benchmarks.design_anytime`: each is given an oracle, a task, a seed and a number of calls.

A call is one sequence through the oracle, with or without its gradient. The counter raises `Spent` when a method asks for more.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.design.unseen import Problem
from discrete_lightning.design import (
    DesignProblem,
    Edit,
    FromNothing,
    FromSequences,
    GradientSearch,
    Maximize,
    Polish,
    Start,
    Target,
)
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.estimators import ReinMax


class Spent(Exception):
    """The calls are used up."""


class Task(nn.Module):
    """A problem that counts the sequences that it scores and remembers the best total after each.

    total = -score, or, if there is a template, (score - target)^2 + price * edits: lower is better. As a module it returns
    scores; `negative_total` serves peers that maximise one number.
    """

    def __init__(self, problem: Problem, calls: int, seed: int, editing: bool) -> None:
        super().__init__()
        self.problem, self.calls, self.editing = problem, calls, editing
        generator = torch.Generator().manual_seed(1000 + seed)
        self.start = torch.randint(4, (problem.length,), generator=generator)
        if (
            "Ehrlich" in problem.name
        ):  # a random sequence is infeasible there: a walk along transitions that are allowed
            allowed: Any = problem.oracle.transitions
            for i in range(1, problem.length):
                self.start[i] = torch.multinomial(allowed[self.start[i - 1]], 1, generator=generator)
        self.best: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,) of (batch, 4, length), counted."""
        if len(self.best) + len(x) > self.calls:
            x = x[: self.calls - len(self.best)]
            if len(x):
                self._count(x, self.problem.oracle(x))
            raise Spent
        scores: Tensor = self.problem.oracle(x)
        self._count(x, scores)
        return scores

    def _count(self, x: Tensor, scores: Tensor) -> None:
        for total in self.totals(x.detach(), scores.detach()).tolist():
            self.best.append(min(total, self.best[-1]) if self.best else total)

    def totals(self, x: Tensor, scores: Tensor) -> Tensor:
        """Totals (batch,). The number of edits is differentiable; an infinite score (infeasible) counts as -1,000."""
        scores = scores.clamp(-1e3, 1e3)
        if not self.editing:
            return -scores
        kept = x[:, self.start, torch.arange(self.problem.length)].sum(1)
        return (scores - self.problem.target).square() + self.problem.price * (self.problem.length - kept)

    def negative_total(self, x: Tensor) -> Tensor:
        """What a peer maximises (batch,)."""
        return -self.totals(x, self(x))

    @property
    def one_hot(self) -> Tensor:
        """The start (1, 4, length)."""
        return nn.functional.one_hot(self.start, 4).T[None].float()


def _search(task: Task, search: GradientSearch, seed: int, given: bool = False) -> None:
    problem, text = task.problem, DNA.decode(task.start)
    start: Start = Edit(text, problem.price) if task.editing else FromNothing(problem.length)
    if given and not task.editing:  # where the peers start, too
        start = FromSequences([text])
    goal = Target(problem.target) if task.editing else Maximize()
    search.begin(DesignProblem(task, start, goal=goal), seed)
    search.run()


def planned(task: Task, seed: int) -> None:
    """Ours: the budget is the only setting."""
    _search(task, GradientSearch(calls=task.calls), seed)
    assert len(task.best) <= task.calls


def chains_alone(task: Task, seed: int) -> None:
    """Eight chains of ReinMax for all calls."""
    steps = task.calls // 8 + 1
    search = GradientSearch(8, steps, ReinMax(), learning_rate=0.3, template_logit=6.0, polish=Polish(calls=1))
    _search(task, search, seed)


def polish_alone(task: Task, seed: int) -> None:
    """Local search from the template or from one random sequence, for all calls."""
    polish = Polish(proposals=8, patience=4, beam=8, sequences=1, restarts=100_000)
    _search(task, GradientSearch(1, 0, ReinMax(), polish=polish), seed, given=True)


def former_defaults(task: Task, seed: int) -> None:
    """64 chains, 100 steps, then a polish."""
    _search(task, GradientSearch(chains=64, steps=100), seed)


def greedy(task: Task, seed: int, proposals: int) -> None:
    """The best of the single edits that the gradient proposes, until none is better; then from another start."""
    for tokens in _starts(task, seed):
        _greedy(task, tokens, proposals)


def _starts(task: Task, seed: int) -> Iterator[Tensor]:
    """The start; then random sequences, or in editing the template with three random edits."""
    generator = torch.Generator().manual_seed(seed)
    yield task.start
    while True:
        tokens = torch.randint(4, (task.problem.length,), generator=generator)
        if task.editing:
            edited = torch.randperm(len(tokens), generator=generator)[:3]
            tokens = task.start.index_copy(0, edited, tokens[edited])
        yield tokens


def _greedy(task: Task, tokens: Tensor, proposals: int) -> None:
    total = math.inf
    while True:
        x = nn.functional.one_hot(tokens, 4).T[None].float().requires_grad_()
        now = -task.negative_total(x)
        total = min(total, float(now.detach()))
        (slope,) = torch.autograd.grad(now.sum(), x)
        slope = slope[0].T.nan_to_num()
        predicted = slope - slope.gather(1, tokens[:, None])
        predicted.scatter_(1, tokens[:, None], torch.inf)
        count = min(proposals, 3 * len(tokens))
        picked = predicted.flatten().topk(count, largest=False).indices
        candidates = tokens.repeat(count, 1)
        candidates[torch.arange(count), picked // 4] = picked % 4
        with torch.no_grad():
            totals = -task.negative_total(nn.functional.one_hot(candidates, 4).mT.float())
        if not float(totals.min()) < total:
            return
        tokens, total = candidates[totals.argmin()], float(totals.min())


def ledidi(task: Task, seed: int) -> None:
    """ledidi 2.2.0 with its defaults, restarted with another seed when it stops early."""
    from ledidi import ledidi as run

    class OneOutput(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return task(x)[:, None].clamp(-1e3, 1e3)

    settings: dict[str, Any] = {"l": task.problem.price if task.editing else 0.0}
    if not task.editing:
        settings["output_loss"] = lambda scores, _: -scores.mean()
    target = torch.tensor([[task.problem.target]])
    for restart in range(1000):
        state = 1000 * seed + restart
        run(OneOutput(), task.one_hot, target, device="cpu", verbose=False, random_state=state, **settings)


def tangermeme(task: Task, seed: int, beam: bool) -> None:
    """tangermeme 1.6.0: every substitution of one letter is scored, and the best (4) are kept. It uses no gradient.

    When no substitution is better it begins again from another start, as our greedy methods do.
    """
    from tangermeme.design import beam_substitution, greedy_substitution

    class Total(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return task.negative_total(x.float())[:, None]

    search = beam_substitution if beam else greedy_substitution
    for tokens in _starts(task, seed):
        x = nn.functional.one_hot(tokens, 4).T[None].float()
        search(Total(), x, max_iter=10**6, tol=0.0, device="cpu", batch_size=32)


def beam_of_gradabeam(task: Task, seed: int, method: str, beam: int, mutations: float, **settings: Any) -> None:
    """GrAdaBeam or AdaBeam 0.2.1, which minimise an oracle of strings."""
    from gradabeam import AdaBeam, GradaBeam
    from gradabeam.tism import TISMModelClass

    class Oracle(TISMModelClass, nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.vocab, self.vocab_array = list("ACGT"), np.array(list("ACGT"))
            self.vocab_to_idx = {letter: i for i, letter in enumerate("ACGT")}

        def inference_on_tensor(self, x: Tensor) -> Tensor:
            return -task.negative_total(x)

        def __call__(self, sequences: list[str]) -> np.ndarray:
            totals = self.inference_on_tensor(nn.functional.one_hot(DNA.encode_all(sequences), 4).mT.float())
            return totals.numpy()

    search = {"GrAdaBeam": GradaBeam, "AdaBeam": AdaBeam}[method]
    common = {"beam_size": beam, "mutations_per_sequence": mutations, "n_rollouts_per_root": 4, "eval_batch_size": 1}
    run = search(Oracle(), DNA.decode(task.start), rng_seed=seed, **common, **settings)
    run.run(10**6)


Method = Callable[[Task, int], None]
OURS = "GradientSearch(calls=N)"
METHODS: dict[str, Method] = {
    OURS: planned,
    "GrAdaBeam 0.2.1, beam 2": lambda task, seed: beam_of_gradabeam(
        task, seed, "GrAdaBeam", 2, 2.0, exploration_alpha=0.05, use_pbt=True
    ),
    "GrAdaBeam 0.2.1, beam 10": lambda task, seed: beam_of_gradabeam(
        task, seed, "GrAdaBeam", 10, 1.0, exploration_alpha=0.5, use_pbt=True
    ),
    "AdaBeam 0.2.1, beam 2": lambda task, seed: beam_of_gradabeam(
        task, seed, "AdaBeam", 2, 1.0, skip_repeat_sequences=True
    ),
    "ledidi 2.2.0": ledidi,
    "tangermeme 1.6.0, greedy": lambda task, seed: tangermeme(task, seed, beam=False),
    "tangermeme 1.6.0, beam of 4": lambda task, seed: tangermeme(task, seed, beam=True),
    "greedy, 8 proposals": lambda task, seed: greedy(task, seed, 8),
    "greedy, 32 proposals": lambda task, seed: greedy(task, seed, 32),
    "our chains alone": chains_alone,
    "our polish alone": polish_alone,
    "our former defaults": former_defaults,
}


@contextmanager
def until_spent() -> Iterator[None]:
    """Ends a method that has used up its calls. Some of them turn the exception into one of their own."""
    try:
        yield
    except Spent:
        pass
    except (RuntimeError, ValueError) as error:
        if not isinstance(error.__cause__, Spent) and not isinstance(error.__context__, Spent):
            raise
