from collections import Counter

import pytest

from discrete_lightning.text.metrics import words_of
from discrete_lightning.text.metrics.words import as_words, hash_lines, hash_runs
from tests.text.metrics.lines import random_lines, runs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Shall I compare thee to a summer's day?", ["shall", "i", "compare", "thee", "to", "a", "summer's", "day"]),
        ("  'Tis heav'n’s -- well-met;\n[Exit.]", ["tis", "heav'n’s", "well-met", "exit"]),
        ("Été, Zürich 42_1", ["été", "zürich", "42", "1"]),
        ("?!", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_equal_runs_have_equal_hashes_and_others_do_not(n: int) -> None:
    lines = random_lines(200, seed=n)
    expected = runs(lines, n)
    found = hash_runs(lines, n)
    assert len(found) == len(expected)
    assert len(set(zip(found.tolist(), expected, strict=True))) == len(set(expected)) == len(set(found.tolist()))


def test_lines() -> None:
    lines = [*random_lines(200, seed=1), ["a", "b"], ["ab"], ["b", "a"], []]
    assert sorted(Counter(hash_lines(lines).tolist()).values()) == sorted(Counter(map(tuple, lines)).values())


def test_hashes_are_those_of_every_process() -> None:
    """What one rank has seen is compared with others; Python's own hashes of strings differ from process to process."""
    assert hash_runs([["a", "b", "c"]], 2).tolist() == [5964756866977873988, -1700902124214585069]


def test_one_string_is_no_list_of_lines() -> None:
    with pytest.raises(ValueError, match="got one string: split it"):
        as_words("to be")
