"""One maker for each constraint, oracle and search that is exported, by name; what is missing fails in test_devices.py."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from discrete_lightning.design import (
    DesignProblem,
    Edit,
    FromNothing,
    GibbsMoves,
    GradientSearch,
    MetropolisSearch,
    ParetoSearch,
    PathMoves,
    Polish,
    Search,
    SurrogateSearch,
    constraints,
    oracles,
)
from discrete_lightning.design.constraints import Constraint

CONSTRAINTS: dict[str, Constraint] = {
    "AllowedLetters": constraints.AllowedLetters({1: "R", 4: "ACT"}),
    "FixedPositions": constraints.FixedPositions({0: "AC"}),
    "ForbiddenMotifs": constraints.ForbiddenMotifs(["GAA", "CRT"]),
    "GCContent": constraints.GCContent(0.4, 0.6),
    "GCContent of windows": constraints.GCContent(0.3, 0.7, window=5),
    "KeptLetters": constraints.KeptLetters("ACGTACGTACGTA", ((2, 4), (7, 9)), shift=2),
    "MaxHomopolymer": constraints.MaxHomopolymer(2),
    "MaxRepeat": constraints.MaxRepeat(2),
    "SynonymousCodons": constraints.SynonymousCodons("MS", 3),
}


def _tasks() -> nn.Module:
    """A model of three outputs."""
    return nn.Sequential(nn.Flatten(), nn.Linear(40, 3))


# name -> (maker, number of letters, length)
ORACLES: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "BlackBox": (lambda: oracles.BlackBox(lambda sequences: [each.count("G") for each in sequences]), 4, 12),
    "Ehrlich": (lambda: oracles.Ehrlich(8, 16, 2, 4, infeasible=-1.0), 8, 16),
    "Ensemble": (lambda: oracles.Ensemble([oracles.TFBind8(), oracles.TFBind8()]), 4, 8),
    "FunctionOracle": (lambda: oracles.FunctionOracle(lambda x: x[:, 2].mean(-1)), 4, 12),
    "GB1": (oracles.GB1, 20, 4),
    "GB1Surrogate": (lambda: oracles.GB1Surrogate(members=2), 20, 4),
    "LedidiOracle": (lambda: oracles.LedidiOracle(_tasks(), [[0.1, 0.2, 0.3]]), 4, 10),
    "MotifScan": (lambda: oracles.MotifScan("GATA2"), 4, 20),
    "NucleoBenchOracle": (
        lambda: oracles.NucleoBenchOracle(lambda strings: [-each.count("G") for each in strings]),
        4,
        12,
    ),
    "OneOutput": (lambda: oracles.OneOutput(_tasks(), 1), 4, 10),
    "SequenceCNN": (lambda: oracles.SequenceCNN(channels=4, layers=2), 4, 20),
    "TangermemeOracle": (lambda: oracles.TangermemeOracle(_tasks(), output_mask=[True, False, True]), 4, 10),
    "TFBind8": (oracles.TFBind8, 4, 8),
    "WeightedSum": (lambda: oracles.WeightedSum([oracles.TFBind8(), _Reversed()], [1.0, -0.5]), 4, 8),
}
BASES = {"Composite", "Constraint", "ConstraintSet", "Search"}


class _Reversed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.oracle = oracles.TFBind8()

    def forward(self, x: Any) -> Any:
        return self.oracle(x.flip(-1))


def _edit() -> DesignProblem:
    """Edits of a template, several oracles and a constraint of each kind that a short sequence can satisfy."""
    rules = [constraints.GCContent(0.2, 0.7), constraints.MaxHomopolymer(3), constraints.MaxRepeat(4)]
    return DesignProblem(ORACLES["WeightedSum"][0](), Edit("ACGTACGA", 0.01), constraints=rules)


SEARCHES: dict[str, Callable[[], Search]] = {
    "GradientSearch": lambda: GradientSearch(chains=4, steps=3, polish=Polish(sequences=2, calls=40, restarts=1)).begin(
        DesignProblem(oracles.TFBind8(), FromNothing(8)), seed=0
    ),
    "GradientSearch of edits": lambda: GradientSearch(chains=4, steps=3, polish=Polish(sequences=2, calls=40)).begin(
        _edit(), seed=0
    ),
    "GradientSearch, planned": lambda: GradientSearch(calls=60).begin(
        DesignProblem(oracles.TFBind8(), FromNothing(8)), seed=0
    ),
    "GradientSearch of edits, planned": lambda: GradientSearch(calls=220).begin(_edit(), seed=0),
    "MetropolisSearch": lambda: MetropolisSearch(calls=40, chains=4).begin(_edit(), seed=0),
    "MetropolisSearch by Gibbs": lambda: MetropolisSearch(
        calls=40, chains=4, moves=GibbsMoves(), temperature=0.1, thin=2
    ).begin(_edit(), seed=0),
    "MetropolisSearch by paths": lambda: MetropolisSearch(calls=40, chains=4, moves=PathMoves()).begin(
        DesignProblem(oracles.TFBind8(), FromNothing(8)), seed=0
    ),
    "ParetoSearch": lambda: ParetoSearch(calls=60, directions=3).begin(
        DesignProblem(ORACLES["WeightedSum"][0](), FromNothing(8)), seed=0
    ),
    "ParetoSearch of edits": lambda: ParetoSearch(calls=60, directions=3).begin(_edit(), seed=0),
    "GradientSearch of insertions": lambda: GradientSearch(
        4, 3, polish=Polish(sequences=2, calls=40, restarts=1)
    ).begin(DesignProblem(oracles.TFBind8(), Edit("ACGTACGA", 0.01, indels=3, flank="TTGA")), seed=0),
    "SurrogateSearch": lambda: SurrogateSearch(calls=24, batch=4, first=12, candidates=30, parents=4).begin(
        _edit(), seed=0
    ),
}


def sequences(letters: int, length: int, count: int = 6) -> torch.Tensor:
    """int64 (count, length)."""
    return torch.randint(letters, (count, length), generator=torch.Generator(device="cpu").manual_seed(0), device="cpu")
