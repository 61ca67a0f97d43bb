"""How English words are said in verse: stresses and rhyme parts, from the CMU Pronouncing Dictionary.

The dictionary holds words of today. Words of 1600 are found through their stems: "know'st", "runneth", "banish'd", "heav'n".
"""

import lzma
import re
from collections.abc import Iterator
from functools import cache, lru_cache

from discrete_lightning.storage.shipped import shipped_bytes
from discrete_lightning.text.verse.early_modern import ONE_SYLLABLE, RESPELT, table
from discrete_lightning.text.verse.phones import Pronunciation, with_ending

# ending and its sounds, the longest first; with "'" no syllable is added (but after t, d, s)
_ENDINGS = (
    ("'dst", "D S T"), ("'st", "S T"), ("'ll", "L"), ("'lt", "L T"), ("'ld", "D"), ("'rt", "R T"), ("'re", "R"), ("'ve", "V"),
    ("'d", "D"), ("'s", "S"), ("'t", "T"), ("eth", "AH0 TH"), ("est", "AH0 S T"), ("st", "S T"), ("ed", "D"),
    ("ing", "IH0 NG"), ("ness", "N AH0 S"), ("less", "L AH0 S"), ("ly", "L IY0"), ("ful", "F AH0 L"), ("er", "ER0"),
    ("ish", "IH0 SH"), ("es", "S"), ("s", "S"),
)  # fmt: skip
_SHORTER = {"eth": "TH", "est": "S T", "er": "R"}  # after a vowel: "goest", "mightier" may drop a syllable
_BEGINNINGS = (
    "over",
    "under",
    "where",
    "there",
    "here",
    "out",
    "fore",
    "un",
    "dis",
    "mis",
    "re",
    "be",
    "en",
    "in",
    "o'er",
)
_OF_TWO_LETTERS = ("on", "to", "at", "of", "in", "by", "as")
_LONG_ED = re.compile(r"[èé]d$")


def pronunciations(word: str) -> tuple[Pronunciation, ...]:
    """All ways to say a word in verse; none if it is not known.

    A syllable that verse may drop is there in both ways: "heaven" has two syllables or one, "glorious" three or two, "loved"
    one or two. Hyphens join words: the stresses of all, and the rhyme of the last. Neither case nor the kind of apostrophe
    matters.

    Example:
        >>> pronunciations("delight")
        (Pronunciation(stresses='01', rhyme='AY T', onset='L'),)
        >>> [each.stresses for each in pronunciations("Heaven")]
        ['10', '1']
        >>> pronunciations("know'st"), pronunciations("brillig")
        ((Pronunciation(stresses='1', rhyme='OW S T', onset='N'),), ())
    """
    return _pronunciations(word.lower().replace("’", "'").replace("‘", "'"))


def knows(word: str) -> bool:
    """Whether the word can be said.

    Example:
        >>> knows("o'erthrow"), knows("slithy")
        (True, False)
    """
    return bool(pronunciations(word))


@cache
def _dictionary() -> dict[str, str]:
    lines = lzma.decompress(shipped_bytes("text/verse/pronunciations.txt.xz")).decode().split("\n")
    return dict(line.split("\t", 1) for line in lines)


@lru_cache(1 << 16)
def _pronunciations(word: str) -> tuple[Pronunciation, ...]:
    if "-" in word:
        return _joined(word.split("-"))
    as_it_is = [word] if word in table() else []
    for spelt in dict.fromkeys([*as_it_is, word.removesuffix("'"), word, word.strip("'")]):
        found = dict.fromkeys(_ways(spelt))
        if found:
            return tuple(found)
    return ()


def _joined(words: list[str]) -> tuple[Pronunciation, ...]:
    whole: tuple[Pronunciation, ...] = (Pronunciation("", "", ""),)
    for word in words:
        parts = [_unbound(each) for each in _pronunciations(word)] if word else []
        whole = tuple(Pronunciation(a.stresses + b.stresses, b.rhyme, b.onset) for a in whole for b in parts)
    return tuple(dict.fromkeys(whole))


def _unbound(word: Pronunciation) -> Pronunciation:
    """A part of a compound: of one syllable, it has no stress of its own."""
    return word._replace(stresses="2") if len(word.stresses) == 1 else word


def _ways(word: str) -> Iterator[Pronunciation]:
    """The ways to say a word, the dictionary's first."""
    plain = list(_known(word)) or list(_built(word))
    yield from plain
    if word.endswith("ed"):  # early verse says "banished" in three syllables; "banish'd" in two
        for each in plain:
            if each.rhyme.endswith((" D", " T")) and not each.rhyme.endswith(" AH D"):
                yield Pronunciation(each.stresses + "0", f"{each.rhyme[:-2]} AH D", each.onset)
    if _is_elided(word):
        for each in plain:
            if each.stresses.startswith("10"):
                yield Pronunciation("1" + each.stresses[2:], each.rhyme, each.onset)


def _is_elided(word: str) -> bool:
    return any(word == stem or (word.startswith(stem) and word[len(stem) :] in _AFTER) for stem in _stems(word))


def _stems(word: str) -> list[str]:
    return [word[:length] for length in range(3, len(word) + 1) if word[:length] in ONE_SYLLABLE]


_AFTER = ("s", "'s", "ly", "ful", "less", "ed", "'d", "ing", "th")


def _known(word: str) -> Iterator[Pronunciation]:
    if word in table():
        yield from table()[word]
    elif len(word) > 1 or word in ("a", "i", "o"):
        for said in _dictionary().get(word, "").split("\t"):
            if said:
                stresses, onset, rhyme = said.split("|")
                yield Pronunciation(stresses, rhyme, onset)


def _built(word: str) -> Iterator[Pronunciation]:
    """A word that is not in the dictionary, from a stem that is."""
    if _LONG_ED.search(word):  # "banishèd"
        found = list(_pronunciations(f"{word[:-2]}ed"))
        most = max((len(each.stresses) for each in found), default=0)
        yield from (each for each in found if len(each.stresses) == most)
        return
    yield from _contracted(word) or _with_endings(word) or _respelt(word) or _with_beginnings(word)


def _contracted(word: str) -> list[Pronunciation]:
    """A vowel, v or more left out: "heav'n", "pow'r", "whate'er", "'twould"."""
    before, mark, after = word.partition("'")
    if not mark:
        return []
    if before and after in ("er", "re") and word.endswith("e'er"):
        return list(_joined([word[:-4], "e'er"]))
    if before and after[:1] in ("n", "r", "l") and after not in ("ll", "rt", "re", "lt", "ld"):
        for vowel in "eoiau":
            full = [each for each in _pronunciations(before + vowel + after) if "0" in each.stresses[1:]]
            longest = max((len(each.stresses) for each in full), default=0)
            if full:
                return [_one_less(each) for each in full if len(each.stresses) == longest]
    if word.startswith("'t") and len(word) > 3:
        return [each._replace(onset=f"T {each.onset}".strip()) for each in _known(word[2:])]
    return []


def _one_less(word: Pronunciation) -> Pronunciation:
    place = word.stresses.index("0", 1)
    return word._replace(stresses=word.stresses[:place] + word.stresses[place + 1 :])


def _with_endings(word: str) -> list[Pronunciation]:
    if word.endswith("'d"):
        modern = list(_known(f"{word[:-2]}ed"))
        if modern:
            shortest = min(len(each.stresses) for each in modern)
            return [each for each in modern if len(each.stresses) == shortest]
    for ending, sounds in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < 2:
            continue
        bases = list(dict.fromkeys(_bases(stem, ending)))
        found = [each for base in bases for each in _known(base)]  # "usest" may be of "us" or "use": all count
        found = found or [each for base in bases if len(base) > 3 for each in _built(base)]
        if found:
            shorter = _SHORTER.get(ending, sounds) if stem[-1] in "aeiouyw" else sounds
            return [
                with_ending(each, said) for said in dict.fromkeys((sounds, shorter)) for each in found if each.rhyme
            ]
    return []


def _bases(stem: str, ending: str) -> Iterator[str]:
    """What a word may have been before its ending: "lov" was "love", "stopp" "stop", "carri" "carry"."""
    yield stem
    if not (ending in ("'s", "s", "less", "ness") or ending.startswith("'l")):
        yield stem + "e"
        if stem[-1] == stem[-2]:
            yield stem[:-1]
    if stem[-1] == "i":
        yield stem[:-1] + "y"


def _unbound_after(beginning: str, word: Pronunciation) -> str:
    return _unbound(word).stresses if beginning.endswith("ere") else word.stresses


def _respelt(word: str) -> list[Pronunciation]:
    for old, new in RESPELT:
        if word.endswith(old):
            found = list(_known(word.removesuffix(old) + new))
            if found:
                return found
    return []


def _with_beginnings(word: str) -> list[Pronunciation]:
    for beginning in _BEGINNINGS:
        rest = word.removeprefix(beginning)
        if rest != word and (len(rest) > 3 or (beginning.endswith("ere") and rest in _OF_TWO_LETTERS)):
            found = _pronunciations(rest)
            syllables = 2 if beginning in ("over", "under") else 1
            if found:
                return [each._replace(stresses="20"[:syllables] + _unbound_after(beginning, each)) for each in found]
    return []
