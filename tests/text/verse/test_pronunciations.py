"""How words are said: those of the dictionary, those of 1600, the file and the script that makes it."""

import lzma
from pathlib import Path

import pytest

from discrete_lightning.text.verse import knows, pronunciations
from discrete_lightning.text.verse.early_modern import table
from discrete_lightning.text.verse.phones import pronunciation, with_ending
from recipes.text.make_pronunciations import lines_of

# word: all its stresses, and a rhyme that it has
WORDS = {
    "delight": ("01", "light", "AY T"),
    "heaven": ("10 1", "heaven", "EH V AH N"),
    "heav'n": ("1", "heaven", "EH V AH N"),
    "heavens": ("10 1", "", "EH V AH N Z"),
    "pow'r": ("1", "power", "AW ER"),
    "power": ("10 1", "power", "AW R"),
    "fire": ("10 1", "", "AY R"),
    "spirit": ("10 1", "", "IH R AH T"),
    "glorious": ("100 10", "", "AO R Y AH S"),
    "memory": ("100 10", "", "EH M ER IY"),
    "o'er": ("1 10", "", "AO R"),
    "ne'er": ("1", "", "EH R"),
    "whate'er": ("22", "", "EH R"),
    "'tis": ("1", "", "IH Z"),
    "th'": (" 0", "", "AH"),
    "know'st": ("1", "", "OW S T"),
    "knowest": ("10 1", "", "OW AH S T"),
    "usest": ("10 210", "", "UW Z AH S T"),
    "runneth": ("10", "", "AH N AH TH"),
    "carrieth": ("100 10", "", "EH R IY AH TH"),
    "stopp'd": ("1", "", "AA P T"),
    "belov'd": ("01", "", "AH V D"),
    "beloved": ("01 010", "", "AH V D"),
    "banish'd": ("10", "", "AE N AH SH T"),
    "banished": ("10 100", "", "AE N AH SH T"),
    "banishèd": ("100", "", "AE N AH SH AH D"),
    "wretchèd": ("10", "", "EH CH AH D"),
    "honour'd": ("10", "", "AA N ER D"),
    "offence": ("01", "", "EH N S"),
    "king's": ("1", "", "IH NG Z"),
    "kings'": ("1", "", "IH NG Z"),
    "mistress'": ("10", "", "IH S T R AH S"),
    "church's": ("10", "", "ER CH AH Z"),
    "self-love": ("22", "", "AH V"),
    "do't": ("1", "", "UW T"),
    "thou'rt": ("1", "", "AW R T"),
    "flatt'ring": ("10", "", "AE T ER IH NG"),
    "o'erthrow": ("21", "", "OW"),
    "unkindness": ("010", "", "AY N D N AH S"),
    "whereon": ("22", "", "AA N"),
}


@pytest.mark.parametrize("word", WORDS)
def test_words(word: str) -> None:
    stresses, _, rhyme = WORDS[word]
    found = pronunciations(word)
    assert {each.stresses for each in found} == set(stresses.split(" "))
    assert rhyme in {each.rhyme for each in found}
    assert knows(word)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("word", ["", "'", "-", "--", "b", "slithy", "xyzzy's", "brillig-love", "99", "a1", "ñ"])
def test_what_is_no_word_has_no_pronunciation(word: str) -> None:
    assert pronunciations(word) == ()
    assert not knows(word)


def test_case_and_the_kind_of_apostrophe_do_not_matter() -> None:
    assert pronunciations("KNOW’ST") == pronunciations("know'st") == pronunciations("Know‘st") != ()
    assert pronunciations("'day'") == pronunciations("day")


def test_sounds() -> None:
    assert pronunciation(["K", "AH0", "N", "F", "EH1", "S"]) == ("01", "EH S", "F")  # not N F: no syllable begins so
    assert pronunciation(["D", "IH0", "S", "T", "R", "EH1", "S"]) == ("01", "EH S", "S T R")
    assert pronunciation(["ER0", "AY1", "Z"]) == ("01", "AY Z", "R")
    assert pronunciation(["AE1", "T"]) == ("1", "AE T", "")
    assert pronunciation(["S", "P", "IH1", "K", "IH0", "NG"]) == ("10", "IH K IH NG", "S P")
    assert [with_ending(pronunciation(["W", "IH1", "SH"]), end).rhyme for end in ("S", "D", "AH0 TH")] == [
        "IH SH AH Z", "IH SH T", "IH SH AH TH",
    ]  # fmt: skip


DICTIONARY = """day D EY1
day(2) D EY1 # a note
b B IY1
'tis T IH1 Z
wandering W AA1 N D ER0 IH0 NG
hm HH M
fire F AY1 ER0
3d TH R IY1 D IY1
"""


def test_the_script_keeps_words_in_each_of_their_ways() -> None:
    assert lines_of(DICTIONARY) == [
        "'tis\t1|T|IH Z",
        "day\t1|D|EY",
        "fire\t10|F|AY ER\t1|F|AY R",
        "wandering\t100|W|AA N D ER IH NG\t10|W|AA N D R IH NG",
    ]
    reordered = "\n".join(reversed(DICTIONARY.splitlines()))
    assert lines_of(reordered) == lines_of(DICTIONARY)


def test_the_files() -> None:
    folder = Path(pronunciations.__code__.co_filename).parent
    packed = (folder / "pronunciations.txt.xz").read_bytes()
    assert len(packed) < 1_000_000
    lines = lzma.decompress(packed).decode("ascii").split("\n")
    words = [line.split("\t")[0] for line in lines]
    assert len(words) > 120_000
    assert words == sorted(set(words))
    for line in lines[::97]:
        for way in line.split("\t")[1:]:
            stresses, onset, rhyme = way.split("|")
            assert stresses
            assert set(stresses) <= set("012")
            assert rhyme
            assert not any(letter.isdigit() for letter in onset + rhyme)
    assert "Carnegie Mellon" in (folder / "NOTICE").read_text()
    assert all(ways for ways in table().values())
    listed = (folder / "early_modern.txt").read_text().splitlines()
    assert len(listed) == len(table())
