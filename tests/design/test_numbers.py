"""Sizes and rates that make no sense are refused where they are given, in one line that names the argument."""

import math
from typing import Any

import pytest

from discrete_lightning.design import (
    DesignProblem,
    Edit,
    Evaluator,
    FromNothing,
    GradientSearch,
    Polish,
    SurrogateSearch,
    Target,
)
from discrete_lightning.design.constraints import GCContent, MaxHomopolymer, MaxRepeat
from discrete_lightning.design.oracles import (
    Ehrlich,
    Ensemble,
    GB1Surrogate,
    MotifScan,
    SequenceCNN,
    TFBind8,
    WeightedSum,
)
from discrete_lightning.design.training import SequenceDesigner

EIGHT = {"oracle": TFBind8(), "start": FromNothing(8)}
TOO_SMALL = {
    (GradientSearch, "chains"): 0,
    (GradientSearch, "steps"): -1,
    (SurrogateSearch, "calls"): 0,
    (SurrogateSearch, "batch"): 0,
    (SurrogateSearch, "first"): 1,
    (SurrogateSearch, "candidates"): 0,
    (SurrogateSearch, "parents"): 0,
    (SurrogateSearch, "memory"): 3,
    (Polish, "proposals"): 0,
    (Polish, "restarts"): -1,
    (Polish, "calls"): 0,
    (FromNothing, "length"): 0,
    (SequenceDesigner, "designs"): 0,
    (SequenceDesigner, "distance"): 0,
    (SequenceDesigner, "oracle_batch"): 0,
    (DesignProblem, "batch"): 0,
    (SequenceCNN, "channels"): 0,
    (SequenceCNN, "layers"): -1,
    (SequenceCNN, "width"): 0,
    (GB1Surrogate, "training"): 9,
    (GB1Surrogate, "epochs"): 0,
    (Ehrlich, "letters"): 1,
    (MaxHomopolymer, "longest"): 0,
    (MaxRepeat, "longest"): 0,
    (GCContent, "window"): 0,
}
RATES = {
    (GradientSearch, "learning_rate"): (0.0, -1.0, math.inf),
    (GradientSearch, "template_logit"): (-1.0, math.inf),
    (GradientSearch, "init_std"): (-1.0, math.inf),
    (GradientSearch, "penalty_weight"): (-1.0, math.inf),
    (SurrogateSearch, "exploration"): (-1.0, math.inf),
    (Edit, "edit_weight"): (-1.0, math.inf),
    (Target, "value"): (math.inf,),
    (MotifScan, "pseudocount"): (0.0, -1.0, math.inf),
    (Ensemble, "pessimism"): (-1.0, math.inf),
    (Ehrlich, "epistasis"): (-1.0, math.inf),
}
NEEDED: dict[type, dict[str, Any]] = {
    SequenceDesigner: EIGHT,
    DesignProblem: EIGHT,
    Evaluator: {"oracle": TFBind8()},
    Edit: {"sequence": "ACGT"},
    Ensemble: {"members": [TFBind8(), TFBind8()]},
    GCContent: {"low": 0.2, "high": 0.8},
}
CASES = [(cls, name, value) for (cls, name), least in TOO_SMALL.items() for value in (least, math.nan)]
CASES += [(cls, name, value) for (cls, name), values in RATES.items() for value in (*values, math.nan)]


@pytest.mark.parametrize(("cls", "name", "value"), CASES, ids=lambda each: getattr(each, "__name__", str(each)))
def test_a_number_is_refused_by_its_name(cls: type, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"\b{name}\b.* got ") as error:
        cls(**{**NEEDED.get(cls, {}), name: value})
    assert "\n" not in str(error.value)


def test_weights_are_finite() -> None:
    for weight in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="weights are finite, and an oracle with weight 0 has no effect, got"):
            WeightedSum([TFBind8()], [weight])


@pytest.mark.parametrize("editable", [[20, 40], 3, [[0, 2], 3]])
def test_a_range_alone_is_no_list_of_ranges(editable: Any) -> None:
    with pytest.raises(ValueError, match=r"editable is a list of ranges such as \[\[10, 20\], \[30, 45\]\], got"):
        Edit("ACGTACGT", editable=editable)


def test_one_constraint_is_no_list_of_constraints() -> None:
    with pytest.raises(TypeError, match="constraints are a list of Constraint objects"):
        DesignProblem(TFBind8(), FromNothing(8), constraints=MaxRepeat(3))  # type: ignore[arg-type]
