import torch

from discrete_lightning.design import DesignProblem, FromNothing
from discrete_lightning.design.constraints import MaxHomopolymer
from discrete_lightning.design.search.archive import Archive
from tests.design.toy_oracles import Pairs


def test_keeps_the_best_once_each() -> None:
    """Against a dictionary of everything offered, over batches with repeats, AAAA among them, and a checkpoint in between."""
    problem = DesignProblem(Pairs(), FromNothing(4), constraints=[MaxHomopolymer(4)])
    generator = torch.Generator().manual_seed(0)
    archive, everything = Archive(20, 4), {}
    for step in range(30):
        tokens = torch.randint(4, (25, 4), generator=generator)
        tokens[0] = 0
        scores = problem.score(tokens)
        everything |= dict(zip(map(tuple, tokens.tolist()), scores.tolist(), strict=True))
        archive.offer(problem, tokens, scores)
        best = sorted(everything, key=lambda each: -everything[each])[:20]
        count = len(archive)
        assert count == min(20, len(everything))
        assert len(archive.tokens[:count].unique(dim=0)) == count  # ties may go either way
        rows = [tuple(row) for row in archive.tokens[:count].tolist()]
        assert [everything[row] for row in rows] == archive.scores[:count].tolist()
        assert archive.scores[:count].tolist() == [everything[each] for each in best]
        if step == 10:
            again = Archive(20, 4)
            again.load_state_dict(archive.state_dict())
            archive = again


def test_what_breaks_a_rule_never_enters() -> None:
    problem = DesignProblem(Pairs(), FromNothing(4), constraints=[MaxHomopolymer(1)])
    archive = Archive(300, 4)
    tokens = torch.cartesian_prod(*[torch.arange(4)] * 4)
    archive.offer(problem, tokens, problem.score(tokens))
    assert len(archive) == 4 * 27
    assert (archive.tokens[: len(archive), 1:] != archive.tokens[: len(archive), :-1]).all()
