"""What rhymes, and what does not."""

import random

import pytest

from discrete_lightning.text.verse import Rhyme, sonnets

PAIRS = {
    ("day", "May"): True,
    ("see", "thee"): True,
    ("eyes", "arise"): True,
    ("gazeth", "amazeth"): True,
    ("painted", "acquainted"): True,
    ("pleasure", "treasure"): True,
    ("o'er", "before"): True,
    ("know'st", "grow'st"): True,
    ("kiss'd", "list"): True,
    ("cross'd", "lost"): True,
    ("confess", "profess"): False,  # F before both
    ("distress", "stress"): False,
    ("light", "delight"): False,
    ("see", "sea"): False,  # they sound the same
    ("day", "Day"): False,
    ("day", "'day'"): False,
    ("love", "prove"): False,  # to the eye alone
    ("slithy", "withy"): False,  # not known
    ("slithy", "slithy"): False,
    ("day", "night"): False,
    ("painted", "day"): False,
    ("lovely", "see"): False,  # the last stressed vowel of lovely is its first
    ("", "day"): False,
    ("", ""): False,
    ("...", "day"): False,
    ("th'", "the"): False,
}


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs(pair: tuple[str, str]) -> None:
    rhyme = Rhyme()
    assert rhyme.fits(*pair) == PAIRS[pair]
    assert rhyme.fits(*reversed(pair)) == PAIRS[pair]
    if all(pair) and PAIRS[pair]:
        assert rhyme.fits(f"Of all that is, {pair[0]}!'", f"a much-loved {pair[1].upper()}--")


def test_a_long_last_word() -> None:
    assert not Rhyme().fits("x" * 60 + "day", "May")


def test_couplets_of_the_sonnets_rhyme_and_random_lines_do_not() -> None:
    rhyme = Rhyme()
    poems = sonnets()
    assert sum(rhyme.fits(*poem[-2:]) for poem in poems) / len(poems) > 0.75
    lines = [line for poem in poems for line in poem]
    noise = random.Random(1)
    chance = sum(rhyme.fits(*noise.sample(lines, 2)) for _ in range(20_000)) / 20_000
    assert 0.001 < chance < 0.02
