"""Random sets of constraints: small and hard ones for DNA, milder ones for long sequences of any letters."""

import random
from dataclasses import replace

from discrete_lightning.design.constraints import (
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


def random_strand_or_circle(rng: random.Random, length: int) -> Constraint:
    """A rule over the origin of a circle, or for a gene on either strand."""
    rule = random_rule(rng, length)
    if isinstance(rule, FixedPositions | AllowedLetters):
        return random_strand_or_circle(rng, length)
    if isinstance(rule, SynonymousCodons):
        assert rule.protein is not None
        size, circular = rng.randint(3 * len(rule.protein), length), rng.random() < 0.5
        start = rng.randrange(length) if circular else rng.randint(0, length - size)
        end = (start + size - 1) % length + 1
        return SynonymousCodons(rule.protein, start, end, rng.choice([1, -1]), circular=circular)
    return replace(rule, circular=True)  # type: ignore[call-arg]


def random_rules(rng: random.Random, length: int, most: int = 4) -> list[Constraint]:
    return [random_rule(rng, length) for _ in range(rng.randint(1, most))]


def long_rules(rng: random.Random, length: int, letters: str) -> list[Constraint]:
    """Two to six rules that together often, and not always, bind; codes, GC and codons of nucleotides alone."""
    nucleotides = set(letters) in (set("ACGT"), set("ACGU"))

    def text(count: int, among: str = letters) -> str:
        return "".join(rng.choice(among) for _ in range(count))

    def fixed() -> Constraint:
        width = rng.randint(3, 12)
        return FixedPositions({rng.randrange(length - width): text(width)})

    def allowed() -> Constraint:
        codes = "RYSWKMN" if nucleotides else letters
        return AllowedLetters({rng.randrange(length): text(2, codes) for _ in range(10)})

    def motifs() -> Constraint:
        among = letters + "RYN" if nucleotides else letters
        return ForbiddenMotifs([text(rng.randint(3, 6), among) for _ in range(rng.randint(1, 4))])

    def gc() -> Constraint:
        low = rng.choice([0.2, 0.4, 0.5])
        return GCContent(low, low + rng.choice([0.1, 0.3]), rng.choice([None, 20, 50]))

    def codons() -> Constraint:
        count = rng.randint(3, 20)
        return SynonymousCodons(text(count, "MWKSLRGI"), rng.randint(0, length - 3 * count))

    kinds = [fixed, allowed, motifs, motifs] + ([gc, gc, codons] if nucleotides else [])
    rules = [rng.choice(kinds)() for _ in range(rng.randint(1, 4))]
    repeat = {2: 14, 4: 5}.get(len(letters), 2)
    return [*rules, MaxHomopolymer(rng.randint(2, 4)), MaxRepeat(rng.randint(repeat, repeat + 5))]
