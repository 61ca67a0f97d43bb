"""Verse: metre and rhyme by a dictionary of how words are said. Functions of words, without torch."""

from discrete_lightning.text.verse.couplet_reward import CoupletReward, Outcome
from discrete_lightning.text.verse.metre import Metre
from discrete_lightning.text.verse.phones import Pronunciation
from discrete_lightning.text.verse.pronunciations import knows, pronunciations
from discrete_lightning.text.verse.rhyme import Rhyme
from discrete_lightning.text.verse.sonnets import sonnets
from discrete_lightning.text.verse.verse_lines import verse_lines

__all__ = [
    "CoupletReward",
    "Metre",
    "Outcome",
    "Pronunciation",
    "Rhyme",
    "knows",
    "pronunciations",
    "sonnets",
    "verse_lines",
]
