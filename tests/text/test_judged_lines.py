"""The loss of judged lines: its figures against enumeration, and the gradients that are exact in the mean."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import StraightThrough
from discrete_lightning.text import GRUNetwork, Judge, TokenChoice
from discrete_lightning.text.judged_lines import JudgedLines, judged_lines, token_figures
from tests.text.tiny_language import LINES, PROMPT, TOKENS, WORDS, StepNetwork, log_probabilities


class Additive(Judge):
    """The sum over places of a number for each word: rows are the samples themselves."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.vocabulary, self.values = values.shape[1], values
        self.freeze()

    def table(self) -> Tensor:
        return torch.eye(self.vocabulary, dtype=self.values.dtype)

    def scores(self, rows: Tensor, mask: Tensor) -> Tensor:
        return (rows * self.values * mask.unsqueeze(-1)).sum((1, 2)).float()


def values() -> Tensor:
    return torch.randn(TOKENS, WORDS, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def drawn(
    network: StepNetwork, reference: StepNetwork, choice: TokenChoice | None, beta: float, lines: int
) -> JudgedLines:
    prompt = torch.full((lines, 1), PROMPT)
    return judged_lines(network, reference, Additive(values()), prompt, TOKENS, choice=choice, kl_weight=beta)


def exact_loss(network: StepNetwork, reference: StepNetwork, beta: float) -> tuple[Tensor, Tensor]:
    """-E score + beta KL over all lines, and the KL."""
    log_p, log_q = log_probabilities(network), log_probabilities(reference).detach()
    scores = values()[torch.arange(TOKENS), LINES].sum(1)
    kl = (log_p.exp() * (log_p - log_q)).sum()
    return beta * kl - (log_p.exp() * scores).sum(), kl


def mean_gradients(beta: float, choice: TokenChoice | None, batches: int = 40) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of the steps' weights: mean, standard error, and the exact gradient."""
    network, reference = StepNetwork(seed=0), StepNetwork(seed=1)
    parameters = [network.maps, network.shifts]
    found = []
    for _ in range(batches):
        found.append(torch.autograd.grad(drawn(network, reference, choice, beta, 500).loss, parameters))
    expected = torch.autograd.grad(exact_loss(network, reference, beta)[0], parameters)
    result = []
    for each, gradient in zip(zip(*found, strict=True), expected, strict=True):
        stacked = torch.stack(each)
        result.append((stacked.mean(0), stacked.std(0) / batches**0.5, gradient))
    return result


def test_the_score_function_with_its_brake_is_exact_in_the_mean() -> None:
    torch.manual_seed(0)
    for mean, error, expected in mean_gradients(0.5, None):
        assert ((mean - expected).abs() < 5 * error + 1e-6).all()
        assert expected.abs().max() > 10 * error.max()


def test_through_words_the_last_steps_gradient_is_exact_in_the_mean() -> None:
    """The KL and the score of the last word, given the words before it."""
    torch.manual_seed(0)
    for mean, error, expected in mean_gradients(0.5, TokenChoice(StraightThrough())):
        assert ((mean - expected)[-1].abs() < 5 * error[-1] + 1e-6).all()
        assert expected[-1].abs().max() > 10 * error[-1].max()


def test_figures_of_tokens_are_those_of_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discrete_lightning.text.judged_lines._ELEMENTS", 4 * WORDS)
    network, reference = StepNetwork(seed=0), StepNetwork(seed=1)
    log_p, kl = token_figures(network, reference, torch.full((len(LINES), 1), PROMPT), LINES)
    torch.testing.assert_close(log_p.sum(1), log_probabilities(network), check_dtype=False)
    exact_kl = exact_loss(network, reference, 1.0)[1]
    torch.testing.assert_close((log_p.detach().sum(1).exp() * kl.sum(1)).sum(), exact_kl, check_dtype=False)
    inputs = torch.cat([torch.full((len(LINES), 1), PROMPT), LINES[:, :-1]], 1)
    mine, theirs = (torch.log_softmax(each(inputs), -1) for each in (network, reference))
    plain = (mine.exp() * (mine - theirs)).sum(-1)
    weights = torch.randn(plain.shape, dtype=torch.float64)
    parameters = [network.maps, network.head.weight, network.head.bias]
    both = [torch.autograd.grad((each * weights).sum(), parameters) for each in (kl, plain)]
    for a, b in zip(*both, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_only_the_generator_learns() -> None:
    network, reference = StepNetwork(seed=0), StepNetwork(seed=1)
    drawn(network, reference, TokenChoice(), 0.5, 4).loss.backward()
    assert all(each.grad is None for each in reference.parameters())
    assert network.maps.grad is not None


def test_the_end_of_a_line_ends_its_kl() -> None:
    network, reference = StepNetwork(seed=0), StepNetwork(seed=1)
    prompt = torch.full((50, 1), PROMPT)
    torch.manual_seed(0)
    found = judged_lines(
        network, reference, Additive(values()), prompt, TOKENS, choice=TokenChoice(), kl_weight=1.0, end=2
    )
    kl = token_figures(network, reference, prompt, found.tokens)[1]
    assert not found.mask.all()
    torch.testing.assert_close(found.kl, (kl * found.mask).sum(1).detach())


def test_bad_input_is_refused() -> None:
    network, prompt = StepNetwork(), torch.full((3, 1), PROMPT)
    judge = Additive(values())
    with pytest.raises(ValueError, match="one vocabulary, got V=5, 5 and 6"):
        judged_lines(network, network, Additive(torch.zeros(3, 6)), prompt, TOKENS, choice=None, kl_weight=0.0)
    with pytest.raises(ValueError, match="two or more samples"):
        judged_lines(network, network, judge, prompt[:1], TOKENS, choice=None, kl_weight=0.0)

    class NotANumber(Additive):
        def scores(self, rows: Tensor, mask: Tensor) -> Tensor:
            return super().scores(rows, mask) * float("nan")

    class Wrong(Additive):
        def scores(self, rows: Tensor, mask: Tensor) -> Tensor:
            return super().scores(rows, mask).unsqueeze(1)

    for cls, said in ((NotANumber, r"shape \(3,\) with 3 that are not finite"), (Wrong, r"shape \(3, 1\) with 0")):
        with pytest.raises(ValueError, match=said):
            judged_lines(network, network, cls(values()), prompt, TOKENS, choice=None, kl_weight=0.0)


def test_training_raises_the_score_of_a_gru() -> None:
    torch.manual_seed(0)
    network, reference = (GRUNetwork(WORDS, dim=8, hidden_dim=16) for _ in range(2))
    reference.load_state_dict(network.state_dict())
    judge = Additive(values().float())
    for choice in (TokenChoice(StraightThrough()), None):
        learner = GRUNetwork(WORDS, dim=8, hidden_dim=16)
        learner.load_state_dict(network.state_dict())
        optimizer = torch.optim.Adam(learner.parameters(), lr=0.02)
        scores = []
        for _ in range(60):
            prompt = torch.zeros(32, 1, dtype=torch.int64)
            found = judged_lines(learner, reference, judge, prompt, TOKENS, choice=choice, kl_weight=0.1)
            optimizer.zero_grad()
            found.loss.backward()
            optimizer.step()
            scores.append(float(found.scores.mean()))
        assert sum(scores[-10:]) / 10 > sum(scores[:5]) / 5 + 1
