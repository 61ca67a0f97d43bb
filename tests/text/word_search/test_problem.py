"""WordProblem: nll against a naive float64 pass, changes and gradients against enumeration, counts against hooks."""

import pytest
import torch

from discrete_lightning.text.word_search import WordProblem
from tests.text.word_search.tiny_problem import (
    FREE,
    LINE,
    PROMPT,
    Rows,
    V,
    all_words,
    naive_nll,
    tiny_network,
    tiny_problem,
)

KINDS = ("gru", "transformer")


@pytest.mark.parametrize("kind", KINDS)
def test_nll_is_that_of_a_naive_pass(kind: str) -> None:
    problem = tiny_problem(kind)
    words = all_words()
    torch.testing.assert_close(
        problem.evaluate(words).nll.double(), naive_nll(problem.network, words), rtol=0, atol=2e-4
    )
    assert problem.network.training  # as it was


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_words_before_the_first_free_one_count(kind: str) -> None:
    network = tiny_network(kind)
    whole = WordProblem(network, LINE, torch.ones(4, dtype=torch.bool), PROMPT)
    later = WordProblem(network, torch.tensor([2, 4, 3, 0]), torch.tensor([False, False, False, True]), PROMPT)
    lines = torch.tensor([[2, 4, 3, word] for word in range(V)])
    torch.testing.assert_close(later.evaluate(lines[:, 3:]).nll, whole.evaluate(lines).nll)
    assert torch.equal(later.lines(lines[:, 3:]), lines)


def test_own_term_of_a_change_is_exact_and_the_rest_is_the_slope() -> None:
    problem = tiny_problem()
    words = torch.tensor([[0, 3, 2]])
    judged = problem.evaluate(words, gradient=True)
    assert judged.change is not None
    # the last word has no words after it: its change is the exact difference
    others = torch.tensor([[0, 3, word] for word in range(V)])
    exact = problem.evaluate(others).nll - judged.nll
    torch.testing.assert_close(judged.change[0, 2], exact, rtol=0, atol=1e-4)
    # all changes are the derivative of the relaxed nll
    one_hot = torch.nn.functional.one_hot(words, V).float().requires_grad_()
    (slope,) = torch.autograd.grad(problem.relaxed(one_hot).sum(), one_hot)
    expected = slope - slope.gather(-1, words.unsqueeze(-1))
    torch.testing.assert_close(judged.change, expected, rtol=0, atol=1e-4)


def test_relaxed_nll_of_one_hot_words_is_the_nll() -> None:
    problem = tiny_problem()
    words = all_words()
    one_hot = torch.nn.functional.one_hot(words, V).float()
    torch.testing.assert_close(problem.relaxed(one_hot), problem.evaluate(words).nll, rtol=0, atol=1e-4)


def test_log_probabilities_are_given_the_words_before() -> None:
    problem = tiny_problem()
    words = all_words()
    judged = problem.evaluate(words)
    # replacing the last word changes the nll by its own term alone
    own = judged.log_probabilities[:, 2]
    for word in range(V):
        other = words.clone()
        other[:, 2] = word
        difference = own.gather(-1, words[:, 2:]).squeeze(-1) - own[:, word]
        torch.testing.assert_close(problem.evaluate(other).nll, judged.nll + difference, rtol=0, atol=2e-4)


def test_draws_are_from_the_network() -> None:
    problem = tiny_problem(scale=1.5)
    network = problem.network.eval()
    draws = problem.draw(20_000, 1.0, torch.Generator().manual_seed(0))
    expected = torch.zeros(V, V, V)
    for first, second in all_words(2).tolist():
        first_p = network(PROMPT[None])[0, -1].softmax(-1)[first]
        second_p = network(torch.cat([PROMPT, torch.tensor([first])])[None])[0, -1].softmax(-1)[second]
        third_p = network(torch.cat([PROMPT, torch.tensor([first, second, 3])])[None])[0, -1].softmax(-1)
        expected[first, second] = (first_p * second_p * third_p).detach()
    counts = torch.bincount(draws @ torch.tensor([V * V, V, 1]), minlength=V**3).float()
    p = expected.flatten()
    likely = p * 20_000 >= 5
    rest = torch.stack([counts[~likely].sum(), p[~likely].sum() * 20_000])
    chi = ((counts - p * 20_000) ** 2 / (p * 20_000))[likely].sum() + (rest[0] - rest[1]) ** 2 / rest[1].clamp_min(1)
    degrees = int(likely.sum())
    assert float(chi) < degrees + 3.3 * (2 * degrees) ** 0.5  # above with p near .001


def test_evaluations_are_the_rows_that_the_network_runs() -> None:
    problem = tiny_problem()
    rows = Rows(problem.network)
    words = all_words()
    problem.evaluate(words)
    assert problem.evaluations == rows.forwards == 125
    problem.evaluate(words[:7], gradient=True)
    assert (problem.evaluations, rows.forwards, rows.backwards) == (139, 132, 7)
    problem.draw(4, 1.0)
    assert (problem.evaluations, rows.forwards) == (147, 140)  # two words are drawn after a pass
    samples = torch.full((3, 3, V), 0.2, requires_grad=True)
    nll = problem.relaxed(samples)
    assert problem.evaluations == 150
    nll.sum().backward()
    assert (problem.evaluations, rows.forwards, rows.backwards) == (153, 143, 10)


def test_bfloat16_networks_are_judged_in_float32() -> None:
    problem = WordProblem(tiny_network(scale=1.0).bfloat16(), LINE, FREE, PROMPT)
    judged = problem.evaluate(all_words(), gradient=True)
    assert judged.nll.dtype == judged.log_probabilities.dtype == torch.float32
    assert judged.change is not None
    assert judged.change.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"free": torch.zeros(4, dtype=torch.bool)}, "has no free token"),
        ({"free": torch.ones(3, dtype=torch.bool)}, r"got \(4,\) and torch.bool \(3,\)"),
        ({"free": torch.ones(4)}, "free, bool"),
        ({"prompt": torch.tensor([], dtype=torch.int64)}, "prompt is one token or more"),
        ({"tokens": torch.tensor([0, 0, 5, 0])}, "tokens are 0 to 4, got 1 to 5"),
        ({"prompt": torch.tensor([1] * 5)}, "have 9 tokens, and the network takes context=8"),
        ({"allowed": torch.ones(4, dtype=torch.bool)}, r"bool \(V,\) or \(F, V\)"),
        ({"allowed": torch.eye(5)[:3].bool().logical_and(torch.tensor([1, 0, 1, 1, 1]))}, r"free positions \[1\] of 3"),
    ],
)
def test_what_does_not_fit(arguments: dict[str, torch.Tensor], message: str) -> None:
    given = {"tokens": LINE, "free": FREE, "prompt": PROMPT} | arguments
    with pytest.raises(ValueError, match=message):
        WordProblem(tiny_network("transformer"), **given)
