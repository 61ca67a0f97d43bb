"""What the rules of metre and rhyme say of Shakespeare: how much of his verse they accept, how much of what is not verse.

python -m benchmarks.text.form > benchmarks/text/results/form.txt

Lines of verse are those of the held-out plays, and of the sonnets. Against them: prose as it is printed; prose in runs of words
of ten syllables, which is what chance makes of the length alone; the words of each sonnet's line in random order. Couplets that
rhyme are the pairs that a sonnet's scheme names (abab cdcd efef gg), against two lines drawn at random. Times are of one
process on a CPU that has seen the words before, in CPU time.
"""

import random
import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

from discrete_lightning.data.shakespeare import Shakespeare
from discrete_lightning.text.verse import CoupletReward, Metre, Rhyme, knows, pronunciations, sonnets, verse_lines
from discrete_lightning.text.verse.metre import words_of

SCHEME = ((0, 2), (1, 3), (4, 6), (5, 7), (8, 10), (9, 11), (12, 13))
ROUNDS = 20


def prose_of(markdown: str) -> list[str]:
    """The paragraphs of a play with a line that starts with a small letter."""
    text = re.sub(r"_[^_]*_", "", markdown)
    paragraphs = [part.split("\n") for part in re.split(r"\n\s*\n", text)]
    lines = [
        [line.strip() for line in part if line.strip() and not line.startswith(("#", "**"))] for part in paragraphs
    ]
    return ["\n".join(part) for part in lines if any(line[0].islower() for line in part)]


def runs(paragraphs: Sequence[str], syllables: int = 10) -> list[str]:
    """Runs of words, one after the other, that have so many syllables by their first pronunciations."""
    found = []
    for paragraph in paragraphs:
        run: list[str] = []
        count = 0
        for word in words_of(paragraph):
            said = pronunciations(word)
            length = len(said[0].stresses) if said else syllables + 1
            run, count = ([word], length) if count + length > syllables else ([*run, word], count + length)
            if count == syllables:
                found.append(" ".join(run))
                run, count = [], 0
    return found


def microseconds(run: Callable[[], object], lines: int) -> float:
    """CPU time a line, of the fastest of some rounds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds) / lines * 1e6


def main() -> None:
    noise = random.Random(0)
    plays = Shakespeare().plays("test")
    verse = [line for play in plays.values() for speech in verse_lines(play) for line in speech]
    prose = [paragraph for play in plays.values() for paragraph in prose_of(play)]
    poems = sonnets()
    poetry = [line for poem in poems for line in poem]
    shuffled = [" ".join(noise.sample(words_of(line), len(words_of(line)))) for line in poetry]
    strict, free, rhyme = Metre(strict=True), Metre(), Rhyme()

    print(f"held-out plays: {', '.join(plays)}\n")
    print(f"{'':34s}{'lines':>7s}{'words known':>13s}{'lines known':>13s}{'strict':>9s}{'with freedoms':>15s}")
    texts = {
        "sonnets": poetry,
        "sonnets, each line shuffled": shuffled,
        "verse of held-out plays": verse,
        "their prose, as printed": [line for paragraph in prose for line in paragraph.split("\n")],
        "their prose, runs of ten syllables": runs(prose),
    }
    for name, lines in texts.items():
        words = [word for line in lines for word in words_of(line)]
        known = sum(map(knows, words)) / len(words)
        whole = sum(not free.unknown(line) for line in lines) / len(lines)
        shares = [sum(map(metre.fits, lines)) / len(lines) for metre in (strict, free)]
        print(f"{name:34s}{len(lines):7,d}{known:13.4f}{whole:13.3f}{shares[0]:9.3f}{shares[1]:15.3f}")

    pairs = [(poem[a], poem[b]) for poem in poems if len(poem) == 14 for a, b in SCHEME]
    sayable = [pair for pair in pairs if all(knows(words_of(line)[-1]) for line in pair)]
    neighbours = [pair for play in plays.values() for speech in verse_lines(play) for pair in pairwise(speech)]
    drawn = [(noise.choice(verse), noise.choice(verse)) for _ in range(50_000)]
    print(f"\n{'':34s}{'pairs':>7s}{'rhyme':>13s}")
    for name, some in {
        "sonnets, by their scheme": pairs,
        "of these, both words known": sayable,
        "verse of plays, neighbours": neighbours,
        "verse of plays, random pairs": drawn,
    }.items():
        print(f"{name:34s}{len(some):7,d}{sum(rhyme.fits(*pair) for pair in some) / len(some):13.4f}")

    reward = CoupletReward()
    couplets = [f"{a}\n{b}\n" for a, b in neighbours[:256]]
    print(f"\nmetre {microseconds(lambda: [free.fits(line) for line in verse[:2000]], 2000):.1f} us a line")
    print(f"rhyme {microseconds(lambda: [rhyme.fits(*pair) for pair in drawn[:2000]], 2000):.1f} us a pair")
    print(f"CoupletReward {microseconds(lambda: reward(couplets), 1) / 1e3:.1f} ms for 256 couplets")


if __name__ == "__main__":
    main()
