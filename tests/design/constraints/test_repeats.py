"""Expected repeats against their definition: values and gradients, at one-hot and at relaxed letters."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.design.alphabet import DNA, PROTEIN
from discrete_lightning.design.constraints import MaxRepeat
from discrete_lightning.design.constraints.repeats import expected_repeats


def naive(probabilities: Tensor, width: int) -> Tensor:
    """Every pair of places, letter by letter."""
    places = probabilities.shape[-2] - width + 1
    total = probabilities.sum((-2, -1)) * 0
    for i in range(places):
        for j in range(i + 1, places):
            agree = probabilities[..., i : i + width, :] * probabilities[..., j : j + width, :]
            total = total + agree.sum(-1).prod(-1)
    return total


def value_and_gradient(function: object, probabilities: Tensor, width: int) -> tuple[Tensor, Tensor]:
    leaf = probabilities.detach().clone().requires_grad_()
    value = function(leaf, width)  # type: ignore[operator]
    weight = torch.arange(1, value.numel() + 1, dtype=value.dtype).view(value.shape)  # chains must not mix
    (slope,) = torch.autograd.grad((value * weight).sum(), leaf)
    return value.detach(), slope


@pytest.mark.parametrize("letters", [2, 4])
@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("hard", [True, False])
def test_value_and_gradient_are_those_of_the_definition(letters: int, width: int, hard: bool) -> None:
    generator = torch.Generator().manual_seed(width)
    logits = torch.randn(2, 3, 14, letters, generator=generator, dtype=torch.float64)
    probabilities = torch.softmax(logits, -1)
    if hard:
        tokens = logits.argmax(-1)
        tokens[0, 0] = 1  # a single run
        tokens[0, 1] = torch.arange(14) % 2
        probabilities = torch.nn.functional.one_hot(tokens, letters).double()
    expected = value_and_gradient(naive, probabilities, width)
    torch.testing.assert_close(value_and_gradient(expected_repeats, probabilities, width), expected)


def test_sequences_too_short_to_repeat_a_word() -> None:
    for length in (3, 4):
        probabilities = torch.full((2, length, 4), 0.25, requires_grad=True)
        assert expected_repeats(probabilities, 4).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("alphabet", "longest"), [(DNA, 29), (DNA, 30), (DNA, 40), (PROTEIN, 13), (PROTEIN, 20)])
def test_long_words(alphabet: object, longest: int) -> None:
    """On either side of what 62 bits hold: one repeat of longest + 1 letters is found, its gradient shows where."""
    generator = torch.Generator().manual_seed(0)
    count = len(alphabet)  # type: ignore[arg-type]
    tokens = torch.randint(count, (1, 300), generator=generator)
    tokens[0, 200 : 201 + longest] = tokens[0, 10 : 11 + longest]
    tokens[0, 201 + longest] = (tokens[0, 11 + longest] + 1) % count
    tokens[0, 199] = (tokens[0, 9] + 1) % count
    x = torch.nn.functional.one_hot(tokens, count).float().requires_grad_()
    penalty = MaxRepeat(longest).penalty(x, alphabet)  # type: ignore[arg-type]
    assert penalty.tolist() == [1.0]
    (slope,) = torch.autograd.grad(penalty.sum(), x)
    blamed = slope.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)[0].nonzero().flatten().tolist()
    assert blamed == [*range(10, 11 + longest), *range(200, 201 + longest)]
    assert MaxRepeat(longest + 1).satisfied(tokens, alphabet).tolist() == [True]  # type: ignore[arg-type]
