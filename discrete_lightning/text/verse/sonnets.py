"""Shakespeare's sonnets."""

import lzma
from pathlib import Path

_FILE = Path(__file__).with_name("sonnets.txt.xz")


def sonnets() -> list[list[str]]:
    """The 154 sonnets, each as its lines: 14, but for the 99th (15) and the 126th (12).

    Example:
        >>> sonnets()[17][0]
        "Shall I compare thee to a summer's day?"
    """
    return [poem.split("\n") for poem in lzma.decompress(_FILE.read_bytes()).decode("ascii").split("\n\n")]
