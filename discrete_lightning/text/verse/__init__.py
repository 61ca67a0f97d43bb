"""Verse: metre and rhyme by a dictionary of how words are said. Functions of words, without torch."""

from discrete_lightning.text.verse.metre import Metre
from discrete_lightning.text.verse.phones import Pronunciation
from discrete_lightning.text.verse.pronunciations import knows, pronunciations
from discrete_lightning.text.verse.rhyme import Rhyme

__all__ = ["Metre", "Pronunciation", "Rhyme", "knows", "pronunciations"]
