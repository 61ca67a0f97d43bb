"""Shakespeare's sonnets."""

import lzma

from discrete_lightning.storage.shipped import shipped_bytes


def sonnets() -> list[list[str]]:
    """The 154 sonnets, each as its lines: 14, but for the 99th (15) and the 126th (12).

    Example:
        >>> sonnets()[17][0]
        "Shall I compare thee to a summer's day?"
    """
    return [
        poem.split("\n")
        for poem in lzma.decompress(shipped_bytes("text/verse/sonnets.txt.xz")).decode("ascii").split("\n\n")
    ]
