"""Makes `discrete_lightning/text/verse/pronunciations.txt.xz` from the CMU Pronouncing Dictionary (BSD licence).

python recipes/text/make_pronunciations.py PATH_OF_cmudict.dict [--out FILE]

The dictionary is the file `cmudict.dict` of https://github.com/cmusphinx/cmudict. A line of the result is a word and, each
after a tab, its pronunciations: stresses|onset|rhyme. The same dictionary gives the same bytes.
"""

import argparse
import lzma
import re
from pathlib import Path

from discrete_lightning.text.verse.phones import is_vowel, pronunciation, with_elisions

OUT = Path(__file__).parents[2] / "discrete_lightning" / "text" / "verse" / "pronunciations.txt.xz"
_WORD = re.compile(r"'?[a-z]+('[a-z]+)*'?")


def lines_of(dictionary: str) -> list[str]:
    """A line for each word, sorted. Letters that are no words (all but a, i, o) and words without a vowel are left out."""
    found: dict[str, dict[str, None]] = {}
    for line in dictionary.splitlines():
        entry = line.partition("#")[0].split()
        if not entry:
            continue
        word, sounds = re.sub(r"\(\d+\)$", "", entry[0]), entry[1:]
        if not _WORD.fullmatch(word) or (len(word.strip("'")) == 1 and word not in "aio"):
            continue
        if not any(map(is_vowel, sounds)):
            continue
        for each in with_elisions(sounds):
            said = pronunciation(each)
            found.setdefault(word, {})[f"{said.stresses}|{said.onset}|{said.rhyme}"] = None
    return ["\t".join([word, *said]) for word, said in sorted(found.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dictionary", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    lines = lines_of(arguments.dictionary.read_text(encoding="utf-8"))
    packed = lzma.compress("\n".join(lines).encode(), format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)
    arguments.out.write_bytes(packed)
    print(f"{arguments.out}: {len(lines):,} words in {len(packed):,} bytes")


if __name__ == "__main__":
    main()
