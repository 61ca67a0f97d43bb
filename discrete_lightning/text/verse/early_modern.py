"""Words of early modern English that a dictionary of today lacks, or says otherwise."""

from functools import cache

from discrete_lightning.storage.shipped import shipped_bytes
from discrete_lightning.text.verse.phones import Pronunciation, pronunciation

# Two syllables that verse may say as one; so may what is built on them ("spirits")
_ONE_SYLLABLE = """
heaven seven eleven even given driven risen fallen stolen spirit being devil evil cruel jewel either neither whether hither
thither whither ever never over having seeing doing going knowing dying lying flying riot lion giant diet poet violet society
"""
ONE_SYLLABLE = frozenset(_ONE_SYLLABLE.split())

# Ends of words as they were spelt, and as they are now
RESPELT = (
    ("our", "or"), ("ours", "ors"), ("oured", "ored"), ("ouring", "oring"), ("ence", "ense"), ("ences", "enses"),
    ("ise", "ize"), ("re", "er"), ("ful", "full"), ("ulness", "ullness"), ("uly", "ully"),
    ("ll", "l"), ("lled", "led"), ("lling", "ling"),
)  # fmt: skip


@cache
def table() -> dict[str, list[Pronunciation]]:
    """The words of early_modern.txt: a line is a word and its sounds (see phones.py), ways to say it parted by "/"."""
    found = {}
    for line in shipped_bytes("text/verse/early_modern.txt").decode("ascii").splitlines():
        word, sounds = line.split(maxsplit=1)
        found[word] = [pronunciation(way.split()) for way in sounds.split("/")]
    return found
