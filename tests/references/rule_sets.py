"""Random sets of constraints for DNA."""

import random

from discrete_lightning.constraints import (
    AllowedLetters,
    Constraint,
    FixedPositions,
    ForbiddenMotifs,
    GCContent,
    MaxHomopolymer,
    MaxRepeat,
    SynonymousCodons,
)


def random_rule(rng: random.Random, length: int) -> Constraint:
    def text(count: int, letters: str = "ACGT") -> str:
        return "".join(rng.choice(letters) for _ in range(count))

    kind = rng.randrange(7)
    if kind == 0:
        width = rng.randint(1, min(3, length))
        return FixedPositions({rng.randrange(length - width + 1): text(width)})
    if kind == 1:
        return AllowedLetters({rng.randrange(length): text(1, "ACGTRYSWKMBDHVN") for _ in range(rng.randint(1, 4))})
    if kind == 2:
        motifs = [text(rng.randint(2, 4), "ACGTACGTRYN") for _ in range(rng.randint(1, 3))]
        return ForbiddenMotifs(motifs, both_strands=rng.random() < 0.7)
    if kind == 3:
        low = rng.choice([0.0, 0.2, 0.4, 0.6])
        return GCContent(low, rng.choice([low, 1.0, min(1.0, low + 0.3)]), rng.choice([None, rng.randint(2, length)]))
    if kind == 4:
        return MaxHomopolymer(rng.randint(1, 4), rng.choice([None, "A", "GC"]))
    if kind == 5:
        return MaxRepeat(rng.randint(1, 4))
    count = rng.randint(1, length // 3)
    return SynonymousCodons(text(count, "MWKSLR*XGI"), rng.randint(0, length - 3 * count))


def random_rules(rng: random.Random, length: int, most: int = 4) -> list[Constraint]:
    return [random_rule(rng, length) for _ in range(rng.randint(1, most))]
