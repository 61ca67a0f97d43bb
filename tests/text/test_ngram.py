"""The character n-gram, against the recursion of its formula over dictionaries."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from discrete_lightning.text.ngram import NGram


def naive_probability(train: str, order: int, context: str, character: str) -> float:
    """p(character | context), by counting `train` anew with strings."""
    alphabet = sorted(set(train))
    follow: dict[str, Counter[str]] = defaultdict(Counter)
    for length in range(order):
        for i in range(length, len(train)):
            follow[train[i - length : i]][train[i]] += 1

    def p(h: str) -> float:
        behind = p(h[1:]) if h else 1 / (len(alphabet) + 1)
        total, kinds = sum(follow[h].values()), len(follow[h])
        if not total:
            return behind
        share = total / (total + kinds)
        return share * follow[h][character] / total + (1 - share) * behind

    return p(context[len(context) - min(order - 1, len(context)) :])


def random_text(seed: int, length: int, letters: str = "abcde \n") -> str:
    return "".join(np.random.default_rng(seed).choice(list(letters), length))


TEXTS = [
    ("to be, or not to be: that is the question", "not to be is to be?"),
    (random_text(0, 300), random_text(1, 60, "abcdeXY \n")),
    ("é\U0001d11e漢字é\ud800漢字", "漢字é\ud800\ud801"),  # beyond one plane; lone surrogates
    ("ab", "abba"),  # shorter than the longest context
    ("a", "b"),
]


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize(("train", "test"), TEXTS)
def test_probabilities_are_those_of_the_recursion(order: int, train: str, test: str) -> None:
    expected = [naive_probability(train, order, test[:i], test[i]) for i in range(len(test))]
    model = NGram(order).fit(train)
    np.testing.assert_allclose(model.probabilities(test), expected, rtol=1e-9)
    assert model.nats_per_character(test) == pytest.approx(-np.mean(np.log(expected)), rel=1e-9)


@pytest.mark.parametrize("order", [1, 2, 5])
@pytest.mark.parametrize("context", ["", "a", "abc", "zz", "e \nab", "abz"])
def test_probabilities_sum_to_one_after_every_context(order: int, context: str) -> None:
    train = random_text(2, 200)
    model = NGram(order).fit(train)
    outcomes = [*sorted(set(train)), "?"]  # "?" stands for all that the text lacks
    assert sum(model.probabilities(context + each)[-1] for each in outcomes) == pytest.approx(1, abs=1e-12)


def test_order_one_is_the_frequency_of_characters() -> None:
    train = random_text(3, 500)
    counts, kinds = Counter(train), len(set(train))
    expected = [(counts[x] + kinds / (kinds + 1)) / (len(train) + kinds) for x in train]
    np.testing.assert_allclose(NGram(1).fit(train).probabilities(train), expected, rtol=1e-12)


def test_characters_the_text_lacks_have_a_finite_cost_and_are_one_symbol() -> None:
    model = NGram(4).fit(random_text(4, 200))
    assert math.isfinite(model.nats_per_character("ZZZ€\U0010ffff"))
    assert model.nats_per_character("abZde") == model.nats_per_character("ab€de")


def test_longer_contexts_help_on_text_with_long_repeats() -> None:
    text = "the quick brown fox jumps over the lazy dog. " * 20
    nats = [NGram(order).fit(text).nats_per_character(text[:200]) for order in (1, 2, 4)]
    assert nats[0] > nats[1] > nats[2]


def test_fit_forgets_the_text_before() -> None:
    model = NGram(3).fit("xyz" * 10)
    np.testing.assert_array_equal(model.fit("abcab").probabilities("abx"), NGram(3).fit("abcab").probabilities("abx"))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        NGram(0)
    with pytest.raises(ValueError, match="empty"):
        NGram(2).fit("")
    with pytest.raises(ValueError, match="empty"):
        NGram(2).fit("ab").nats_per_character("")
    with pytest.raises(RuntimeError, match="fit"):
        NGram(2).probabilities("ab")
