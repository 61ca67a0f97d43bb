"""Of the sounds of a word: which syllables are stressed, what rhymes, and which syllables verse may drop.

Sounds are those of the CMU Pronouncing Dictionary (ARPAbet): vowels end in their stress, 1 primary, 2 secondary, 0 none.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

# Consonants that begin a syllable: those that begin 20 words of the dictionary, but for foreign names
_ONSETS = """
B|B L|B R|B Y|CH|D|D R|D Y|DH|F|F L|F R|F Y|G|G L|G R|G W|HH|HH W|HH Y|JH|K|K L|K R|K W|K Y|L|M|M Y|N|P|P L|P R|P Y|R|
S|S K|S K R|S K W|S L|S M|S N|S P|S P L|S P R|S T|S T R|S W|SH|SH R|T|T R|T W|TH|TH R|TH W|V|V Y|W|Y|Z|ZH
"""
ONSETS = frozenset(each.strip() for each in _ONSETS.split("|"))
_SIBILANT = ("S", "Z", "SH", "ZH", "CH", "JH")
_VOICELESS = ("P", "T", "K", "F", "TH", "S", "SH", "CH", "HH")


class Pronunciation(NamedTuple):
    """One way to say a word.

    Attributes:
        stresses: a digit a syllable: 1 primary stress, 2 secondary, 0 none. Empty where no vowel is left, as in "th'".
        rhyme: the sounds from the last stressed vowel on, without stresses: "AY T" of "delight". A weak IH, but in -ing, is
            AH, since the dictionary does not keep them apart: "faces" ends in "AH Z" or "IH Z".
        onset: the consonants that begin the syllable of that vowel: "L" of "delight".
    """

    stresses: str
    rhyme: str
    onset: str


def is_vowel(sound: str) -> bool:
    """Whether a sound is the vowel of a syllable."""
    return sound[-1].isdigit()


def pronunciation(sounds: Sequence[str]) -> Pronunciation:
    """What verse needs to know of a word's sounds.

    Example:
        >>> pronunciation("D IH0 L AY1 T".split())
        Pronunciation(stresses='01', rhyme='AY T', onset='L')
    """
    vowels = [place for place, sound in enumerate(sounds) if is_vowel(sound)]
    stresses = "".join(sounds[place][-1] for place in vowels)
    if not vowels:
        return Pronunciation("", "", " ".join(sounds))
    last = ([place for place in vowels if sounds[place][-1] != "0"] or vowels)[-1]
    start = last
    while start > 0 and " ".join(sounds[start - 1 : last]) in ONSETS:
        start -= 1
    onset = sounds[start:last]
    if not onset and last > 0 and sounds[last - 1].startswith("ER"):
        onset = ["R"]  # the r of "arise" (ER AY Z) is heard in its second syllable
    return Pronunciation(stresses, _rhyme(sounds[last:]), " ".join(onset))


def _rhyme(sounds: Sequence[str]) -> str:
    found = []
    for sound, after in zip(sounds, [*sounds[1:], ""], strict=True):
        found.append("AH" if sound == "IH0" and after != "NG" else sound.rstrip("012"))
    return " ".join(found)


def with_elisions(sounds: Sequence[str]) -> Iterator[list[str]]:
    """The sounds, and those with one unstressed syllable less where verse may drop it.

    - long I or OU before the weak ER of "fire" and "power" is one syllable;
    - a weak I or U before a weak vowel glides: "glorious" in two syllables, "influence" too;
    - a weak vowel before r, n or l and a weak vowel falls out: "wandering", "different", "listening" in two.

    Example:
        >>> [" ".join(each) for each in with_elisions("W AA1 N D ER0 IH0 NG".split())]
        ['W AA1 N D ER0 IH0 NG', 'W AA1 N D R IH0 NG']
    """
    sounds = list(sounds)
    yield sounds
    for place, sound in enumerate(sounds[:-1]):
        before, after = sounds[:place], sounds[place + 1 :]
        if sound[:2] in ("AY", "AW") and after[0] == "ER0":
            yield [*before, sound, "R", *after[1:]]
        if not before or sound[-1] != "0":
            continue
        if after[0][-1] in "02":
            glide = {"IY0": "Y", "UW0": "W", "ER0": "R"}.get(sound)
            if glide:
                yield [*before, glide, *after]
        elif sound in ("AH0", "IH0") and after[0] in ("R", "N", "L") and len(after) > 1 and after[1][-1] == "0":
            yield [*before, *after]


def with_ending(word: Pronunciation, ending: str) -> Pronunciation:
    """The pronunciation of a word and an ending: its sounds, "S" and "D" as the sound before them demands.

    Example:
        >>> with_ending(Pronunciation("1", "IH SH", "W"), "D"), with_ending(Pronunciation("1", "IH SH", "W"), "S")
        (Pronunciation(stresses='1', rhyme='IH SH T', onset='W'), Pronunciation(stresses='10', rhyme='IH SH AH Z', onset='W'))
    """
    last = word.rhyme.rpartition(" ")[2]
    if ending == "S":
        ending = "IH0 Z" if last in _SIBILANT else "S" if last in _VOICELESS else "Z"
    elif ending == "D":
        ending = "IH0 D" if last in ("T", "D") else "T" if last in _VOICELESS else "D"
    sounds = ending.split()
    stresses = "".join(sound[-1] for sound in sounds if is_vowel(sound))
    return Pronunciation(word.stresses + stresses, f"{word.rhyme} {_rhyme(sounds)}", word.onset)
