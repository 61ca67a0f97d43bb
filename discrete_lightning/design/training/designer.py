"""Sequence design as a LightningModule: an oracle, a goal and rules in, sequences one could order out."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from discrete_lightning.design import Design, DesignProblem, Goal, GradientSearch, Search, Start
from discrete_lightning.design.constraints import Constraint
from discrete_lightning.design.evaluator import in_dtype_of
from discrete_lightning.design.oracles.composite import one_score_each
from discrete_lightning.distributed import broadcast_
from discrete_lightning.layers.float32 import FixedDtype

_STEPS_AN_EPOCH = 10


class _Steps(IterableDataset[int]):
    """The numbers of the steps of an epoch. Iterable, so that Lightning gives every rank all of them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


class _Judge(FixedDtype):
    """A second oracle, called by one rank alone: it is not counted, and a NaN only says that it does not know."""

    def __init__(self, oracle: nn.Module) -> None:
        super().__init__()
        self.oracle = oracle.requires_grad_(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,), float32, of sequences (batch, letters, length)."""
        oracle = self.oracle.eval()
        with in_dtype_of(oracle) as dtype:
            return one_score_each(oracle(x.to(dtype)), oracle, len(x)).float()


class SequenceDesigner(LightningModule):
    """Designs sequences: one training step is one step of the search over all chains, and fitting ends with the search.

    The state of the search is the same on all ranks and in the checkpoint; the oracle's calls are split over the ranks. So any
    number of devices finds the same designs. `designs()` gives them at any time; DesignWriter, SequenceLogo and
    DesignTrajectory write and draw them, also after Ctrl-C.

    Args:
        oracle: any module of one-hot sequences (batch, letters, length) to scores (batch,) or (batch, 1). Told to `prepare()`
            before the search if it has such a method.
        start: FromNothing(length), FromSequences(list) or Edit(sequence).
        alphabet: "DNA", "RNA", "protein", or the letters in the oracle's order.
        goal: Maximize(), Minimize() or Target(value).
        constraints: rules that every design keeps.
        search: GradientSearch() or SurrogateSearch() for an oracle without gradient.
        designs: how many to report, at most, that differ in at least `distance` letters.
        distance: see `designs`.
        both_strands: whether they differ by `distance` on the other strand, too (DNA and RNA).
        judge: a second oracle that scores what is reported, and that the search never sees: a measured table, say.
        oracle_batch: sequences that the oracle scores at a time on each device; fewer need less memory.

    Raises:
        Unsatisfiable: no sequence keeps all constraints.
        ValueError: an argument does not fit another.

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
        oracle: nn.Module,
        start: Start,
        alphabet: str = "DNA",
        goal: Goal | None = None,
        constraints: Sequence[Constraint] = (),
        search: Search | None = None,
        designs: int = 20,
        distance: int = 1,
        both_strands: bool = False,
        judge: nn.Module | None = None,
        oracle_batch: int = 1024,
    ) -> None:
        super().__init__()
        if designs < 1 or distance < 1:
            raise ValueError(f"SequenceDesigner needs designs >= 1 and distance >= 1, got {designs} and {distance}")
        self.automatic_optimization = False  # a polish takes steps without a gradient
        self.count, self.distance, self.both_strands = designs, distance, both_strands
        problem = DesignProblem(oracle, start, alphabet, goal, constraints, oracle_batch)
        if both_strands and not problem.alphabet.complements:
            raise ValueError(f"the letters {problem.alphabet.letters!r} have no second strand: leave both_strands out")
        self.search = (GradientSearch() if search is None else search).begin(problem)
        self.judge = None if judge is None else _Judge(judge)
        self._prepared = False
        if (
            self.search.optimizer() is None
        ):  # DistributedDataParallel refuses a module in which nothing needs a gradient
            self.anchor = nn.Parameter(torch.zeros(()))

    @property
    def problem(self) -> DesignProblem:
        """What is searched."""
        return self.search.problem

    def setup(self, stage: str) -> None:
        """Prepares the oracle and the judge, once; weights of a checkpoint are loaded instead."""
        if stage == "fit" and not self._prepared:
            for each in (self.problem.evaluator.oracle, self.judge and self.judge.oracle):
                if callable(prepare := getattr(each, "prepare", None)):
                    prepare()
            self._prepared = True

    def on_fit_start(self) -> None:
        """Makes the search's state equal on all ranks, whatever their seeds."""
        self.train()  # an oracle comes in eval() and is called in eval(); in between, Lightning would warn of it
        for tensor in (*self.search.parameters(recurse=True), *self.search.buffers(recurse=True)):
            broadcast_(tensor.data)

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(_Steps(_STEPS_AN_EPOCH), batch_size=None)

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
        optimizer.step()  # without a gradient it moves nothing, but Lightning counts steps by it and skips checkpoints else
        values = {"best_score": now.best_score, "mean_score": now.mean_score, "oracle_calls": float(now.calls)}
        self.log_dict(values, prog_bar=True, batch_size=1)
        self.log("best_total", now.best_total, batch_size=1)
        if self.search.done:
            self.trainer.should_stop = True

    def designs(self, count: int | None = None) -> list[Design]:
        """The best designs so far, best first, judged if there is a judge. Every one keeps all constraints."""
        found = self.search.designs(self.count if count is None else count, self.distance, self.both_strands)
        return self._judged(found)

    def pareto_front(self) -> list[Design]:
        """Of several oracles (WeightedSum): the designs that none beats on one oracle without losing on another.

        Raises:
            NoFront: the goal is a Target, which gives no single oracle a direction.
        """
        return self._judged(self.search.pareto_front())

    def _judged(self, found: list[Design]) -> list[Design]:
        if self.judge is None or not found:
            return found
        tokens = self.problem.alphabet.encode_all([design.sequence for design in found]).to(self.device)
        values = self.judge(self.problem.one_hot(tokens).mT).tolist()
        for design, value in zip(found, values, strict=True):
            design.more["judge"] = value
        return found

    def test_step(self, batch: int, batch_idx: int) -> None:
        """Logs what was found: the best and mean score of the designs, how many, and what they cost.

        Of every further column the mean, and the best in the direction that the goal and the weights give it, if they do.
        """
        found = self.designs()
        values = {"oracle_calls": float(self.problem.evaluator.count), "designs": float(len(found))}
        if found:
            values["best_score"] = found[0].score
            values["mean_score"] = sum(design.score for design in found) / len(found)
            if self.problem.template is not None:
                values["edits"] = float(found[0].edits)
            for key in found[0].more:
                column = torch.tensor([design.more[key] for design in found])
                column = column[~column.isnan()]  # a judge may not know all of them
                if not len(column):
                    continue
                values[f"{key}_mean"] = float(column.mean())
                if (losses := self._losses(key, column)) is not None:
                    values[f"{key}_best"] = float(column[losses.argmin()])
        self.log_dict({f"test/{name}": value for name, value in values.items()}, batch_size=1)

    def _losses(self, key: str, column: Tensor) -> Tensor | None:
        """What is to be low in a column of the designs; None where there is no direction."""
        goal, evaluator = self.problem.goal, self.problem.evaluator
        if key == "judge":
            return goal.loss(column)
        sign = goal.sign * dict(zip(evaluator.names, evaluator.signs, strict=True))[key]
        return -sign * column if sign else None

    def predict_step(self, batch: int, batch_idx: int) -> dict[str, Any]:
        found = self.designs()
        return {"sequences": [design.sequence for design in found], "scores": [design.score for design in found]}
