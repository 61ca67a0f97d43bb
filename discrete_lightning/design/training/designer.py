"""Sequence design as a LightningModule: from an oracle, a goal and constraints to sequences that one could order."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from discrete_lightning.design import Design, DesignProblem, Goal, GradientSearch, Progress, Search, Start
from discrete_lightning.design.constraints import Constraint
from discrete_lightning.design.oracle_context import frozen, in_dtype_of
from discrete_lightning.design.oracles.composite import one_score_each
from discrete_lightning.design.oracles.function import Oracle, as_module
from discrete_lightning.design.oracles.one_output import Output
from discrete_lightning.design.training.kept_answers import KeptAnswers
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.float32 import FixedDtype
from discrete_lightning.protocols import PreparesOracle
from discrete_lightning.training.averaging import check_not_averaged
from discrete_lightning.training.restorable import RestorableModule

_STEPS_PER_EPOCH = 10


class _Steps(IterableDataset[int]):
    """The numbers of the steps of an epoch. Iterable, so that Lightning gives all of them to every rank."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


class _Judge(FixedDtype):
    """A second oracle. Its calls are not counted, and a NaN means that it does not know the sequence."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self.oracle = as_module(oracle)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,), float32, of sequences (batch, letters, length)."""
        with frozen(self.oracle), in_dtype_of(self.oracle) as dtype:
            return one_score_each(self.oracle(x.to(dtype)), self.oracle, len(x)).float()


def _prepare(oracle: nn.Module) -> None:
    """Prepares a module, or else the parts of it that ask for that, such as an oracle in a WeightedSum."""
    if isinstance(oracle, PreparesOracle):
        oracle.prepare_oracle()
        return
    for part in oracle.children():
        _prepare(part)


class _ReleaseOnException(Callback):
    """Lightning calls `teardown` of a module only after success."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        assert isinstance(pl_module, SequenceDesigner)
        pl_module.release_oracles()


class SequenceDesigner(RestorableModule):
    """Designs sequences: one training step is one step of the search over all chains, and fitting ends with the search.

    The state of the search is the same on all ranks and in the checkpoint, and the oracle's calls are split over the ranks. So
    any number of devices finds the same designs. `designs()` returns them at any time. DesignWriter, SequenceLogo and
    DesignTrajectory write and draw them when fitting ends, also after Ctrl-C.

    What an oracle without gradient answers is written to `answers.jsonl` in the run's folder at once. A run that was killed and
    is continued from its checkpoint takes the later answers from there: only the call that was under way is made again, of
    `oracle_batch` sequences at most.

    Args:
        oracle: any module or function of one-hot sequences (batch, letters, length) to scores (batch,) or (batch, 1). If it, or
            a part of it, has a method `prepare_oracle()` (see protocols.PreparesOracle), this is called before the search.
            Parameters and modules are in the same mode after fitting as before; only `prepare_oracle` may change the weights.
        start: FromNothing(length), FromSequences(list) or Edit(sequence).
        alphabet: "DNA", "RNA", "protein", or the letters in the order of the oracle's channels.
        goal: Maximize(), Minimize() or Target(value).
        constraints: rules that every design satisfies.
        search: GradientSearch(), or SurrogateSearch() for an oracle without gradient. The designer begins a copy of it, its
            attribute `search`, so that several designers can be given the same settings.
        designs: the maximum number of designs to report; any two of them differ in at least `distance` letters.
        distance: see `designs`.
        diverse: whether the designs should differ as much as possible, instead of being the very best. Each has at least 90 %
            of the improvement of the best one over the start, where enough of them do (see Search.designs).
        both_strands: whether a design must also differ by `distance` from the other strand of the others (DNA and RNA).
        judge: a second oracle that scores the reported designs and is not used by the search, for example a measured table.
        oracle_batch: the number of sequences that the oracle scores at a time on each device; fewer need less memory.
        output: which output of the oracle is the score, if it returns several: the number of a column or of an item of a tuple,
            or the key of a dict (see OneOutput). None: it returns one. Take OneOutput for the judge.

    Raises:
        Unsatisfiable: no sequence satisfies all constraints.
        ValueError: an argument does not fit another one.

    Example:
        >>> from discrete_lightning.design import FromNothing
        >>> from discrete_lightning.design.oracles import TFBind8
        >>> _ = torch.manual_seed(0)
        >>> designer = SequenceDesigner(TFBind8(), FromNothing(8), search=GradientSearch(chains=8, steps=5))
        >>> designer.search.run()
        >>> len(designer.designs(3))
        3
    """

    def __init__(
        self,
        oracle: Oracle,
        start: Start,
        alphabet: str = "DNA",
        goal: Goal | None = None,
        constraints: Sequence[Constraint] = (),
        search: Search | None = None,
        designs: int = 20,
        distance: int = 1,
        both_strands: bool = False,
        judge: Oracle | None = None,
        oracle_batch: int = 1024,
        output: Output | None = None,
        diverse: bool = False,
    ) -> None:
        super().__init__()
        check_at_least(1, designs=designs, distance=distance, oracle_batch=oracle_batch)
        self.automatic_optimization = False  # a polish takes steps without a gradient
        self.requested_designs, self.design_distance, self.both_strands = designs, distance, both_strands
        self.diverse = diverse
        problem = DesignProblem(oracle, start, alphabet, goal, constraints, oracle_batch, output)
        if both_strands and not problem.alphabet.complements:
            raise ValueError(f"the letters {problem.alphabet.letters!r} have no second strand: leave both_strands out")
        self.search = (GradientSearch() if search is None else copy.deepcopy(search)).begin(problem)
        self.judge = None if judge is None else _Judge(judge)
        self._prepared = False
        self._frozen: list[frozen] = []
        if self.search.optimizer() is None:
            # DistributedDataParallel refuses a module in which no parameter requires a gradient
            self.anchor = nn.Parameter(torch.zeros(()))

    @property
    def problem(self) -> DesignProblem:
        """The design problem."""
        return self.search.problem

    @property
    def design_letters(self) -> str:
        """The letters of the alphabet."""
        return self.problem.alphabet.letters

    @property
    def design_template(self) -> str | None:
        """The sequence that is edited, or None."""
        return self.problem.start.template(self.problem.alphabet)

    def search_trajectory(self) -> list[Progress]:
        """The progress after each step of the search."""
        return list(self.search.trajectory)

    def setup(self, stage: str) -> None:
        """Prepares the oracle and the judge (once, and only for fitting), and freezes both until `teardown`.

        DistributedDataParallel would wait for gradients of their parameters otherwise.
        """
        self.release_oracles()
        oracles = [self.problem.evaluator.oracle, *([] if self.judge is None else [self.judge.oracle])]
        if stage == "fit" and not self._prepared:
            for oracle in oracles:
                _prepare(oracle)
            self._prepared = True
        for oracle in oracles:
            self._frozen.append(frozen(oracle))
            self._frozen[-1].__enter__()

    def teardown(self, stage: str) -> None:
        self.release_oracles()

    def configure_callbacks(self) -> list[Callback]:
        return [KeptAnswers(self.problem.evaluator), _ReleaseOnException()]

    def release_oracles(self) -> None:
        """Ends what `setup` began: the parameters and modules of the oracle and the judge are in their former mode again."""
        while self._frozen:
            self._frozen.pop().__exit__()

    def on_fit_start(self) -> None:
        """Makes the state of the search equal on all ranks, whatever their seeds are."""
        check_not_averaged(self.trainer, "SequenceDesigner")
        self.train()  # Lightning warns of modules in eval() mode; the evaluator puts the oracle into eval() for each call
        self.search.agree_over_ranks()

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(_Steps(_STEPS_PER_EPOCH), batch_size=None)

    def test_dataloader(self) -> DataLoader[int]:
        return DataLoader(_Steps(1), batch_size=None)

    def predict_dataloader(self) -> DataLoader[int]:
        return DataLoader(_Steps(1), batch_size=None)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.search.optimizer() or torch.optim.SGD([self.anchor], lr=0.0)

    def training_step(self, batch: int, batch_idx: int) -> None:
        if self.search.done:  # a finished search was resumed
            self.trainer.should_stop = True
            return
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()

        def optimize(loss: Tensor) -> None:
            self.manual_backward(loss)

        now = self.search.advance(optimize)
        # without a gradient this changes nothing, but Lightning counts optimiser steps and saves no checkpoint without new ones
        optimizer.step()
        values = {"best_score": now.best_score, "mean_score": now.mean_score, "oracle_calls": float(now.calls)}
        self.log_dict(values, prog_bar=True, batch_size=1)
        if self._measures_front:
            self.log("hypervolume", self.search.hypervolume(), batch_size=1)
        self.log("best_total", now.best_total, batch_size=1)
        if self.search.done:
            self.trainer.should_stop = True

    def designs(self, count: int | None = None) -> list[Design]:
        """The best designs so far, best first, with the judge's score if there is a judge; each satisfies all constraints."""
        wanted = self.requested_designs if count is None else count
        return self._judged(self.search.designs(wanted, self.design_distance, self.both_strands, self.diverse))

    def pareto_designs(self) -> list[Design]:
        """The Pareto front of several oracles (WeightedSum): the designs that no other one dominates.

        Raises:
            NoFront: the goal is a Target, which gives no direction to the single oracles.
        """
        return self._judged(self.search.pareto_designs())

    def _judged(self, designs: list[Design]) -> list[Design]:
        if self.judge is None or not designs:
            return designs
        tokens = self.problem.alphabet.encode_all([design.sequence for design in designs]).to(self.device)
        values = self.judge(self.problem.one_hot(tokens).mT).tolist()
        for design, value in zip(designs, values, strict=True):
            design.more["judge"] = value
        return designs

    def test_step(self, batch: int, batch_idx: int) -> None:
        """Logs the best and the mean score of the designs, their number, the number of oracle calls, and `anytime_total`, the
        mean of the best total over the logarithm of the calls (see Trajectory.anytime_total).

        Of two or three oracles with a Pareto front also its hypervolume, as each step of the search does.

        For each further column the mean is logged. The best value is logged, too, if the goal and the weights say whether a
        higher or a lower value is better.
        """
        designs = self.designs()
        values = {"oracle_calls": float(self.problem.evaluator.count), "designs": float(len(designs))}
        if self._measures_front:
            values["hypervolume"] = self.search.hypervolume()
        if designs:
            values["best_score"] = designs[0].score
            values["anytime_total"] = self.search.trajectory.anytime_total()
            values["mean_score"] = sum(design.score for design in designs) / len(designs)
            if self.problem.template is not None:
                values["edits"] = float(designs[0].edits)
            for key in designs[0].more:
                column = torch.tensor([design.more[key] for design in designs])
                column = column[~column.isnan()]  # a judge may not know all of them
                if not len(column):
                    continue
                values[f"{key}_mean"] = float(column.mean())
                if (losses := self._losses(key, column)) is not None:
                    values[f"{key}_best"] = float(column[losses.argmin()])
        self.log_dict({f"test/{name}": value for name, value in values.items()}, batch_size=1)

    @property
    def _measures_front(self) -> bool:
        """Whether there is a front whose hypervolume takes little time."""
        return self.search.front is not None and self.search.front.values.shape[1] <= 3

    def _losses(self, key: str, column: Tensor) -> Tensor | None:
        """The column with the sign that makes lower values better; None if it has no direction."""
        goal, evaluator = self.problem.goal, self.problem.evaluator
        if key == "judge":
            return goal.loss(column)
        sign = goal.sign * dict(zip(evaluator.names, evaluator.signs, strict=True))[key]
        return -sign * column if sign else None

    def predict_step(self, batch: int, batch_idx: int) -> dict[str, Any]:
        designs = self.designs()
        return {"sequences": [design.sequence for design in designs], "scores": [design.score for design in designs]}
