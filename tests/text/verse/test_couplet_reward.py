"""Rewards of couplets: each rule, each way around it, and the tokens that may be drawn."""

import copy

import pytest

from discrete_lightning.layers.recorded import made, recorded
from discrete_lightning.text.verse import CoupletReward, Outcome

GOOD = "So long as men can breathe, or eyes can see,"
RHYMES = "So long lives this, and this gives life to thee."
OTHER = "The course of true love never did run smooth;"


def of(*lines: str) -> str:
    return "".join(line + "\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (of(GOOD, RHYMES), (1.0, 3.0)),
        (of(GOOD, OTHER), (1.0, 1.0)),
        (of("The sea", "The tea"), (0.0, 2.0)),  # a rhyme out of metre counts
        (of("The sea", RHYMES), (0.0, 3.0)),
        (of(GOOD, "And me."), (1.0, 2.0)),
        (of(GOOD), (1.0, 0.0)),  # the second line was not begun
        (of(GOOD) + RHYMES, (1.0, 0.0)),  # or not ended
        (GOOD, (0.0, 0.0)),
        ("", (0.0, 0.0)),
        ("\n\n", (0.0, 0.0)),
        (of(GOOD, ""), (1.0, 0.0)),
        (of("", GOOD), (0.0, 1.0)),
        (of(GOOD, RHYMES, ""), (0.0, 0.0)),  # more than two lines
        (of(GOOD, RHYMES, OTHER), (0.0, 0.0)),
        (of(GOOD, RHYMES) + "And", (0.0, 0.0)),
        (of(GOOD.lower(), RHYMES), (0.0, 1.0)),  # no capital, and so no rhyme
        (of(" " + GOOD, RHYMES), (0.0, 1.0)),
        (of("'" + GOOD, RHYMES), (1.0, 3.0)),
        (of("“" + GOOD, RHYMES), (1.0, 3.0)),
        (of(GOOD + "'", "'" + RHYMES), (1.0, 3.0)),
        (of(GOOD + ")", RHYMES), (0.0, 1.0)),
        (of(GOOD.replace(" as", "  as"), RHYMES), (0.0, 1.0)),
        (of("So long lives this, this, this, and life to me", RHYMES), (0.0, 1.0)),
        (of("So long lives this, This--this, and life to me", RHYMES), (0.0, 1.0)),
        (of("So long lives this, this, and again to me", RHYMES), (1.0, 3.0)),
        (of(GOOD, GOOD), (0.5, 0.5)),  # the line occurs twice, and see does not rhyme with see
        (of(GOOD, "So long as men can sail upon the sea,"), (1.0, 1.0)),
        (of("So long as men can breathe, or slithy see,", RHYMES), (0.0, 3.0)),  # an unknown word: out of metre
    ],
)
def test_rules(text: str, expected: tuple[float, float]) -> None:
    assert CoupletReward()([text]) == [expected]


def test_weights() -> None:
    assert CoupletReward(0.5, 4)([of(GOOD, RHYMES), of("The sea", "The tea")]) == [(0.5, 4.5), (0.0, 4.0)]
    for wrong in ({"metre": -1.0}, {"rhyme": float("nan")}, {"metre": float("inf")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CoupletReward(**wrong)


def test_a_line_shares_its_reward_with_its_copies() -> None:
    reward = CoupletReward()
    texts = [of(GOOD, RHYMES), of(GOOD, OTHER), of(OTHER, GOOD.replace(",", " --").upper())]
    assert reward(texts) == [
        (pytest.approx(1 / 3), 3.0),
        (pytest.approx(1 / 3), 0.5),
        (0.5, pytest.approx(1 / 3)),
    ]
    assert reward(texts[:1]) == [(1.0, 3.0)]  # no memory of other batches
    assert reward([]) == []


def test_forbidden_lines_earn_nothing_and_rhyme_with_nothing() -> None:
    reward = CoupletReward()
    reward.forbid([GOOD])
    assert reward([of(GOOD, RHYMES), of(OTHER, GOOD), of(RHYMES, "The sea.")]) == [(0.0, 0.5), (1.0, 0.0), (0.5, 2.0)]
    assert reward([of("'" + GOOD.replace(",", "!"), "And me")]) == [(0.0, 0.0)]  # other marks make no other line
    reward.forbid(iter([RHYMES]))
    assert reward([of(GOOD, RHYMES)]) == [(0.0, 0.0)]


def test_outcomes() -> None:
    reward = CoupletReward()
    reward.forbid([OTHER])
    texts = [of(GOOD, RHYMES), of(GOOD, RHYMES), of(OTHER, "and me"), GOOD, of("The sea.", "The tea.")]
    yes, no = (True, True), (False, False)
    assert reward.outcomes(texts) == [
        Outcome(yes, True, yes, no),
        Outcome(yes, True, yes, no),
        Outcome((True, False), False, (True, False), (True, False)),
        Outcome(no, False, no, no),
        Outcome(no, True, yes, no),
    ]


@pytest.mark.parametrize(
    "piece",
    ["\n", " ", ",", ".", ";", ":", "!", "?", "'", "’", "-", "--", " --", " '", "I", "O", "A", "a", " I", " a", "The", " the",
     " heaven", "'d", "'s", "'st", "'ll", "'t", "’d", "'Tis", " know'st", "well-known", " hath"],
)  # fmt: skip
def test_tokens_that_may_be_drawn(piece: str) -> None:
    assert CoupletReward().knows(piece)


@pytest.mark.parametrize(
    "piece",
    ["", "\n\n", "\r\n", "  ", "b", "B", " c", "i", "o", "&", "(", "7", " 7", "é", "�", "slithy", " gyre", "the cat", "\t",
     "_"],
)  # fmt: skip
def test_tokens_that_are_never_drawn(piece: str) -> None:
    assert not CoupletReward().knows(piece)


def test_its_arguments_are_recorded() -> None:
    reward = CoupletReward(rhyme=3.0)
    reward.forbid([GOOD])
    again = made(recorded(reward))
    assert (again.metre, again.rhyme) == (1.0, 3.0)
    assert again([of(GOOD, RHYMES)]) == [(1.0, 4.0)]  # the lines are those of the data: they are not recorded
    assert copy.deepcopy(reward)([of(GOOD, RHYMES)]) == [(0.0, 1.0)]


def test_what_reports_ask_of_it() -> None:
    reward = CoupletReward()
    assert reward.scan(GOOD) == "x/x/x/x/x/"
    assert reward.scan("The sea") is None
    assert reward.rhymes(GOOD, RHYMES)
    assert not reward.rhymes(GOOD, OTHER)
    assert [reward.syllables(word) for word in ("delight", "heaven", "slithy")] == [2, None, None]
    assert reward.features(" delight") == ["stress 01", "rhyme AY T"]
    assert reward.features(" slithy") == reward.features(",") == []
