"""Iambic lines: the table of rules, the automaton against a naive search, and what it costs an intruder."""

import itertools
import random

import pytest

from discrete_lightning.text.verse import Metre, pronunciations, sonnets
from discrete_lightning.text.verse.metre import words_of
from tests.text.verse.table import LINES, PLAIN


@pytest.mark.parametrize(("line", "marks"), LINES)
def test_the_table_of_lines(line: str, marks: str | None) -> None:
    assert Metre().scan(line) == marks
    assert Metre().fits(line) == (marks is not None)
    strict = marks if marks == PLAIN else None
    assert Metre(strict=True).scan(line) == strict


def naive(line: str, allowed: list[str]) -> list[str]:
    """All patterns that some way to say the words fits, by trying each."""
    ways = []
    for word in words_of(line):
        ways.append(sorted({each.stresses for each in pronunciations(word)}))
    fitting = set()
    for said in itertools.product(*ways):
        syllables = [
            (stress, near, len(stresses))
            for stresses in said
            for stress, near in zip(
                stresses, (stresses[max(0, i - 1) : i] + stresses[i + 1 : i + 2] for i in range(99)), strict=False
            )
        ]
        for pattern in allowed:
            if len(pattern) == len(syllables) and all(
                length == 1
                or (stress == "1" and mark == "/")
                or (stress != "1" and not (stress == "0" and "1" in near and mark == "/"))
                for (stress, near, length), mark in zip(syllables, pattern, strict=True)
            ):
                fitting.add(pattern)
    return [pattern for pattern in allowed if pattern in fitting]


@pytest.mark.parametrize(("feet", "strict"), [(5, True), (5, False), (4, False), (1, False)])
def test_the_automaton_finds_what_trying_all_ways_finds(feet: int, strict: bool) -> None:
    metre = Metre(feet, strict)
    lines = [line for poem in sonnets()[:12] for line in poem]
    noise = random.Random(3)
    words = [word for line in lines for word in words_of(line)]
    lines += [" ".join(noise.choices(words, k=noise.randint(1, 9))) for _ in range(150)]
    results = [metre.scan(line) for line in lines]
    for line, result in zip(lines, results, strict=True):
        found = naive(line, list(metre.allowed)) if not metre.unknown(line) else []
        assert result == (found[0] if found else None), line
    assert any(results)
    assert not all(results)


def test_a_verdict_does_not_depend_on_the_lines_before() -> None:
    lines = [line for line, _ in LINES]
    forwards, backwards = Metre(), Metre()
    assert [forwards.scan(line) for line in lines] == [backwards.scan(line) for line in reversed(lines)][::-1]


def test_the_number_of_feet() -> None:
    assert Metre(4).scan("That is no country for the old") == "x/x/x/x/"
    assert Metre(6, strict=True).fits("The king is dead and all the men are gone away")
    assert not Metre(6).fits("The king is dead")
    with pytest.raises(ValueError, match="feet"):
        Metre(0)


def test_unknown_words_are_named_and_fail_the_line() -> None:
    metre = Metre()
    line = "The slithy toves did gyre and gimble there"
    assert metre.unknown(line) == ["slithy", "gyre", "gimble"]
    assert metre.unknown("Shall I compare thee to a summer's day?") == []
    assert metre.unknown("b 99 Straße") == ["b", "99", "Straße"]
    assert not metre.fits("The b that I have seen is on the wall")


def test_words_of_a_line() -> None:
    assert words_of("O!--'tis thy mother's well-known 'voice' ...") == [
        "O", "'tis", "thy", "mother's", "well", "known", "'voice'",
    ]  # fmt: skip
    assert words_of(" -- 7 é") == ["7", "é"]


def test_most_lines_of_the_sonnets_and_few_shuffled_ones_fit() -> None:
    lines = [line for poem in sonnets() for line in poem]
    noise = random.Random(1)
    shuffled = []
    for line in lines:
        words = words_of(line)
        noise.shuffle(words)
        shuffled.append(" ".join(words))
    for metre, least, most in ((Metre(strict=True), 0.78, 0.45), (Metre(), 0.9, 0.6)):
        share = sum(map(metre.fits, lines)) / len(lines)
        chance = sum(map(metre.fits, shuffled)) / len(lines)
        assert share > least
        assert chance < most
