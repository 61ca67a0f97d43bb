"""The verse of a play, and the sonnets."""

from discrete_lightning.text.verse import sonnets, verse_lines

PLAY = """# The Two Cats

## ACT I
### SCENE I. A roof. The moon.

_Enter TOM and a
DOG_

**TOM**
The moon is up, and all the mice are gone;
‘Who goes?’ they cry—they know me by my step.
_Purrs_
This is another speech of mine, my friend:
(And two more lines it has.)

**DOG**
I had a bone here yesterday, and it was a very good bone,
and now it is gone.

**TOM**
One line alone.

**DOG**
_[Aside]_ The cat is here, _Barks
twice_ and I am not amused.
'Tis time to bark.
"""


def test_speeches_of_verse() -> None:
    assert verse_lines(PLAY) == [
        ["The moon is up, and all the mice are gone;", "‘Who goes?’ they cry--they know me by my step."],
        ["This is another speech of mine, my friend:", "(And two more lines it has.)"],
        ["The cat is here,  and I am not amused.", "'Tis time to bark."],
    ]


def test_nothing() -> None:
    assert verse_lines("") == verse_lines("# A play\n\n**TOM**\n") == []


def test_the_last_speech_needs_no_line_end() -> None:
    assert verse_lines("**TOM**\nA line\nAnd one") == [["A line", "And one"]]


def test_sonnets() -> None:
    poems = sonnets()
    assert len(poems) == 154
    assert {number: len(poem) for number, poem in enumerate(poems, 1) if len(poem) != 14} == {99: 15, 126: 12}
    assert poems[0][0] == "From fairest creatures we desire increase,"
    assert poems[153][13] == "Love's fire heats water, water cools not love."
    assert all(line == line.strip() != "" for poem in poems for line in poem)
