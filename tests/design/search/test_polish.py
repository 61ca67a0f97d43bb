"""The local search and the edits that it leaves, against enumeration."""

import pytest

from discrete_lightning.design import (
    DesignProblem,
    Edit,
    FromNothing,
    GradientSearch,
    Polish,
)
from discrete_lightning.design.oracles import MotifScan
from tests.design.enumeration import best_of
from tests.design.toy_oracles import Linear, Pairs


@pytest.mark.parametrize("seed", range(4))
def test_edits_that_do_not_pay_are_undone(seed: int) -> None:
    """Separable effects: an edit belongs into the optimum exactly if it gains more than it costs."""
    oracle = Linear(40, seed=seed)
    template = "ACGT" * 10
    problem = DesignProblem(oracle, Edit(template, edit_weight=1.5))
    search = GradientSearch(chains=4, steps=20, template_logit=2.0, learning_rate=1.0).begin(problem, seed)
    search.run()
    tokens = problem.alphabet.encode(template)
    weight = oracle.weight.detach().T
    gain = weight.max(1).values - weight.gather(1, tokens[:, None]).squeeze(1)
    design = search.designs(1)[0]
    assert design.edits == int((gain > 1.5).sum())
    expected = -float(weight.gather(1, tokens[:, None]).sum()) - float((gain - 1.5).clamp_min(0).sum())
    assert design.total == pytest.approx(expected, abs=1e-4)


def test_polish_joins_edits_that_pay_only_together() -> None:
    """Neighbouring letters that interact: a beam finds the optimum of 4,096 sequences that greedy edits miss."""
    problem = DesignProblem(Pairs(seed=3), FromNothing(6))
    search = GradientSearch(chains=1, steps=0, polish=Polish(sequences=1, beam=16, patience=6, restarts=5)).begin(
        problem, 0
    )
    search.run()
    assert search.progress().best_total == pytest.approx(best_of(problem), abs=1e-5)


@pytest.mark.parametrize("sequences", [1, 2])
@pytest.mark.parametrize("steps", [0, 3])
def test_no_edit_is_worse_than_none(sequences: int, steps: int) -> None:
    """Edits cost more than they can gain, and the chains begin far from the template: the template itself is the best."""
    problem = DesignProblem(Linear(30), Edit("ACGTA" * 6, edit_weight=20.0))
    polish = Polish(sequences=sequences, proposals=1, patience=1, calls=2)
    search = GradientSearch(chains=4, steps=steps, template_logit=0.0, polish=polish).begin(problem, seed=0)
    search.run()
    best = search.designs(1)[0]
    assert (best.sequence, best.edits, best.changes) == ("ACGTA" * 6, 0, "")
    assert best.calls == 1
    assert search.progress().best_total == pytest.approx(best.total)


def test_changes_name_the_edits() -> None:
    problem = DesignProblem(Linear(12), Edit("ACGT" * 3, edit_weight=0.5))
    search = GradientSearch(chains=4, steps=5).begin(problem, seed=0)
    search.run()
    for design in search.designs(10):
        sequence = list("ACGT" * 3)
        for change in filter(None, design.changes.split(";")):
            assert sequence[int(change[1:-1]) - 1] == change[0]
            sequence[int(change[1:-1]) - 1] = change[-1]
        assert "".join(sequence) == design.sequence
        assert len(design.changes.split(";")) == max(1, design.edits)


@pytest.mark.parametrize("calls", [1, 5, 50])
def test_a_polish_spends_no_more_than_it_may(calls: int) -> None:
    polish = Polish(proposals=8, sequences=8, restarts=1000, calls=calls)
    search = GradientSearch(chains=8, steps=2, polish=polish).begin(DesignProblem(MotifScan("JUN"), FromNothing(40)), 0)
    search.run()
    assert search.problem.evaluator.count == 8 * 2 + calls
