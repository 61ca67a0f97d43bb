"""The archive of good sequences that differ, against a plain list, and the batches that are chosen from it."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from discrete_lightning.design import DesignProblem, Edit, FromNothing, GradientSearch, Polish, ScoredSequences, select
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.constraints import MaxHomopolymer
from discrete_lightning.design.oracles import MotifScan, TFBind8
from discrete_lightning.design.search.diverse_archive import DiverseArchive, hamming
from tests.design.toy_oracles import Linear, Pairs


def gap(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return sum(x != y for x, y in zip(a, b, strict=True))


def plain(kept: dict[tuple[int, ...], float], new: dict[tuple[int, ...], float], start: float, capacity: int) -> None:
    """The rule: the pool of both, and of the nearest pairs the worse ones dropped."""
    kept |= {row: total for row, total in new.items() if row not in kept}
    bound = min(kept.values()) + 0.1 * max(0.0, start - min(kept.values()))
    for row in [row for row, total in kept.items() if total > bound]:
        del kept[row]
    while len(kept) > capacity:
        least = min(gap(a, b) for a, b in combinations(kept, 2))
        pairs = [(a, b) for a, b in combinations(kept, 2) if gap(a, b) == least]
        del kept[max(pairs[0], key=lambda row: kept[row])]


@pytest.mark.parametrize("capacity", [5, 500])
def test_archive(capacity: int) -> None:
    problem = DesignProblem(Linear(9), FromNothing(9), constraints=[MaxHomopolymer(3)])
    generator = torch.Generator().manual_seed(0)
    archive, kept = DiverseArchive(capacity, 9), dict[tuple[int, ...], float]()
    best = problem.evaluator.oracle.weight.argmax(0)  # type: ignore[union-attr,operator]
    start = torch.nan
    for step in range(12):
        noise = torch.rand(20, 9, generator=generator) < 0.5 - 0.03 * step
        tokens = torch.where(noise, torch.randint(4, (20, 9), generator=generator), best)
        tokens[0] = tokens[1]  # a repeat
        evaluation = problem.evaluate(tokens)
        totals = problem.total(evaluation.scores, tokens)
        start = float(totals.mean()) if step == 0 else start
        archive.update(problem, tokens, evaluation)
        feasible = problem.feasible(tokens)
        known = min([*kept.values(), float(totals.min())])
        new = {
            tuple(row): float(total)
            for row, total, good in zip(tokens.tolist(), totals, feasible, strict=True)
            if good and total <= known + 0.1 * (start - known)
        }
        if new:
            plain(kept, new, start, capacity)
        rows = [tuple(row) for row in archive.tokens[archive.filled].tolist()]
        assert len(rows) == len(set(rows)) == len(kept)
        assert dict(zip(rows, archive.totals[archive.filled].tolist(), strict=True)) == kept
        if step == 5:
            again = DiverseArchive(capacity, 9)
            again.load_state_dict(archive.state_dict())
            archive = again
    assert capacity == 500 or len(kept) == 5
    assert float(archive.start) == pytest.approx(start)


def test_hamming() -> None:
    first, second = DNA.encode_all(["ACGT", "AAAA"]), DNA.encode_all(["ACGA", "TTTT", "AAAA"])
    assert hamming(first, second).tolist() == [[1, 3, 3], [2, 4, 0]]
    assert hamming(first[:0], second).shape == (0, 3)


def apart(batch: list[Tensor]) -> int:
    return min(int((a != b).sum()) for a, b in combinations(batch, 2))


def spaced(ordered: Tensor, count: int, distance: int) -> list[Tensor]:
    """Best first, each at least `distance` from those before it."""
    chosen: list[Tensor] = []
    for row in ordered:
        if len(chosen) < count and all(int((row != each).sum()) >= distance for each in chosen):
            chosen.append(row)
    return chosen


@pytest.mark.parametrize("seed", range(8))
def test_a_diverse_batch(seed: int) -> None:
    """Best first at its own distance, at least half of the best least distance; and best first at more finds too few."""
    problem = DesignProblem(Pairs(), FromNothing(8))
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, (14, 8), generator=generator)
    evaluation = problem.evaluate(tokens)
    table = ScoredSequences(14, 8)
    table.tokens.copy_(tokens)
    table.scores.copy_(evaluation.scores)
    table.totals.copy_(problem.total(evaluation.scores, tokens))
    ordered = tokens[table.totals.argsort()]
    bound = float(table.totals.sort().values[11])  # of 12
    batch = [DNA.encode(design.sequence) for design in select(problem, [table], 4, bound=bound)]
    least = apart(batch)
    expected = spaced(ordered[:12], 4, least)
    assert torch.equal(torch.stack(batch), torch.stack(expected))
    assert any(len(spaced(ordered[:12], 4, least + more)) < 4 for more in (1, 2))
    best = max(apart(list(each)) for each in combinations(ordered[:12], 4))
    assert least >= best / 2
    # a pool of two is filled up by the next best
    few = select(problem, [table], 5, bound=float(table.totals.sort().values[1]))
    assert [design.sequence for design in few] == [DNA.decode(each) for each in ordered[:5]]
    assert select(problem, [ScoredSequences(3, 8)], 2, bound=0.0) == []


@pytest.mark.parametrize("both_strands", [False, True])
def test_a_search_gives_good_designs_that_differ(both_strands: bool) -> None:
    problem = DesignProblem(MotifScan("GATA2"), FromNothing(60), constraints=[MaxHomopolymer(4)])
    search = GradientSearch(chains=16, steps=30, polish=Polish(sequences=8, calls=500)).begin(problem, seed=0)
    search.run()
    near, far = (search.designs(20, both_strands=both_strands, diverse=diverse) for diverse in (False, True))
    assert len(near) == len(far) == 20
    assert far[0] == near[0]  # the best one is in both
    start = float(search.archive.start)
    assert all(start - each.total >= 0.9 * (start - far[0].total) - 1e-4 for each in far)
    assert all(each.checks["MaxHomopolymer"] for each in far)
    tokens = [[DNA.encode(each.sequence) for each in batch] for batch in (near, far)]
    assert apart(tokens[1]) > 5 * apart(tokens[0])
    if both_strands:
        turned = [DNA.encode(DNA.reverse_complement(each.sequence)) for each in far]
        others = [
            int((a != b).sum()) for (i, a), (j, b) in combinations(enumerate(turned + tokens[1]), 2) if j - i != 20
        ]
        assert min(others) > 5
    wider = search.designs(20, distance=30, diverse=True)
    assert apart([DNA.encode(each.sequence) for each in wider]) >= 30


def test_an_edit_starts_from_its_template() -> None:
    problem = DesignProblem(TFBind8(), Edit("ACGTACGT", 0.001))
    search = GradientSearch(chains=4, steps=3, polish=Polish(sequences=1, calls=20)).begin(problem, seed=0)
    search.run()
    assert problem.template is not None
    total = problem.total(problem.score(problem.template), problem.template)
    assert float(search.archive.start) == pytest.approx(float(total))


def test_a_state_without_an_archive() -> None:
    """Of an earlier version: the archive begins empty, and the rest is as it was."""
    searches = [GradientSearch(4, 3, polish=Polish(sequences=1, calls=20)) for _ in range(2)]
    first, second = (each.begin(DesignProblem(TFBind8(), FromNothing(8)), seed=0) for each in searches)
    first.run()
    state = {key: value for key, value in first.state_dict().items() if not key.startswith("archive.")}
    second.load_state_dict(state)
    assert len(second.archive) == 0
    assert second.designs(3) == first.designs(3)
    assert len(second.designs(3, diverse=True)) == 3
