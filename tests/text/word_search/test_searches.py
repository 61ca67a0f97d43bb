"""Every search: the optimum of an enumerable problem, exact counts, fixed words, the same by seed."""

from typing import Any

import pytest
import torch

from discrete_lightning.estimators import GumbelSoftmax, LeaveOneOut, ReinMax, StraightThrough, StraightThroughGumbel
from discrete_lightning.text.word_search import (
    CoordinateSearch,
    GibbsWithGradients,
    GreedyCoordinateGradient,
    IteratedLocalSearch,
    PathSearch,
    WordProblem,
    WordSearch,
)
from tests.text.word_search.tiny_problem import FREE, LINE, PROMPT, Rows, V, all_words, tiny_network, tiny_problem

SHORT: dict[str, Any] = {"steps": 20, "samples": 4, "draws": 20}
SEARCHES: dict[str, WordSearch] = {
    "coordinate": CoordinateSearch(2),
    "greedy": GreedyCoordinateGradient(batch=4, top=3, patience=3),
    "gibbs": GibbsWithGradients(chains=3),
    "iterated": IteratedLocalSearch(2),
    **{
        f"path {type(each).__name__}": PathSearch(each, **SHORT)
        for each in (GumbelSoftmax(), StraightThrough(), StraightThroughGumbel(), ReinMax())
    },
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("kind", ["gru"])
def test_finds_the_best_of_all_lines(name: str, kind: str) -> None:
    problem = tiny_problem(kind)
    nll = problem.evaluate(all_words()).nll
    best = all_words()[int(nll.argmin())]
    assert (nll.sort().values[1] - nll.min()) > 1e-3  # one optimum
    found = SEARCHES[name].run(problem, 1500, seeded(0))
    assert found.tokens[FREE].tolist() == best.tolist()
    assert found.nll == pytest.approx(float(nll.min()), abs=1e-3)


@pytest.mark.parametrize("name", SEARCHES)
def test_evaluations_are_the_rows_that_the_network_runs(name: str) -> None:
    for budget in (4, 5, 23, 150, 333):
        problem = tiny_problem()
        rows = Rows(problem.network)
        found = SEARCHES[name].run(problem, budget, seeded(1))
        assert found.evaluations == problem.evaluations == rows.forwards + rows.backwards
        assert budget - 4 < found.evaluations <= budget  # what is left does not pay for another draw
        places, values = zip(*found.history, strict=True)
        assert places[-1] <= budget
        assert list(places) == sorted(places)
        assert list(values) == sorted(values, reverse=True)
        assert found.nll == values[-1]


@pytest.mark.parametrize("name", SEARCHES)
def test_fixed_and_forbidden_words(name: str) -> None:
    allowed = torch.tensor([[1, 0, 1, 0, 1], [0, 1, 1, 0, 0], [0, 0, 1, 1, 1]]).bool()
    problem = tiny_problem(allowed=allowed)
    seen: list[torch.Tensor] = []
    judge = problem.lines

    def lines(words: torch.Tensor) -> torch.Tensor:
        seen.append(words)
        return judge(words)

    problem.lines = lines  # type: ignore[method-assign]
    found = SEARCHES[name].run(problem, 400, seeded(2))
    assert int(found.tokens[2]) == int(LINE[2])
    assert allowed[torch.arange(3), found.tokens[FREE]].all()
    usable = all_words()[allowed[torch.arange(3), all_words()].all(-1)]
    best = usable[int(tiny_problem().evaluate(usable).nll.argmin())]
    if "path" not in name:  # which may end in a local optimum
        assert found.tokens[FREE].tolist() == best.tolist()
    if "path" not in name:  # whose relaxed passes fill in what stands there
        words = torch.cat([each for each in seen if int(each.abs().sum())])
        assert allowed[torch.arange(3), words].float().mean() > 0.9


@pytest.mark.parametrize("name", SEARCHES)
def test_the_seed_decides(name: str) -> None:
    network = tiny_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    first, again, other = (
        SEARCHES[name].run(WordProblem(network, LINE, FREE, PROMPT), 150, seeded(seed)) for seed in (0, 0, 1)
    )
    assert first.history == again.history
    assert torch.equal(first.tokens, again.tokens)
    assert (
        name in ("greedy", "path GumbelSoftmax") or first.history != other.history
    )  # these may find one optimum at once
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("name", SEARCHES)
def test_one_free_word_and_nothing_after_it(name: str) -> None:
    problem = WordProblem(tiny_network(), torch.tensor([2, 0]), torch.tensor([False, True]), PROMPT)
    found = SEARCHES[name].run(problem, 60, seeded(0))
    exact = problem.evaluate(torch.arange(V)[:, None]).nll
    assert int(found.tokens[1]) == int(exact.argmin())


@pytest.mark.parametrize("name", SEARCHES)
def test_one_word_allowed_at_each_position(name: str) -> None:
    allowed = torch.nn.functional.one_hot(torch.tensor([2, 4, 0]), V).bool()
    found = SEARCHES[name].run(tiny_problem(allowed=allowed), 60, seeded(0))
    assert found.tokens.tolist() == [2, 4, 3, 0]


def test_too_few_evaluations() -> None:
    with pytest.raises(ValueError, match="takes 4 evaluations to draw and judge, got 3"):
        CoordinateSearch().run(tiny_problem(), 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CoordinateSearch(0), "candidates must be at least 1"),
        (lambda: GreedyCoordinateGradient(batch=0), "batch must be at least 1"),
        (lambda: GibbsWithGradients(end=0.0), "end must be positive"),
        (lambda: IteratedLocalSearch(redrawn=0), "redrawn must be at least 1"),
        (lambda: PathSearch(LeaveOneOut(2)), "LeaveOneOut has no samples that carry a gradient"),
        (lambda: PathSearch(tau=0.0), "tau must be positive"),
    ],
)
def test_arguments_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
