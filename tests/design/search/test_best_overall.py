import torch

from discrete_lightning.design import BestOverall, DesignProblem, FromNothing
from discrete_lightning.design.constraints import MaxHomopolymer
from tests.design.toy_oracles import Pairs


def test_keeps_the_best_once_each() -> None:
    """Against a dictionary of all sequences, over batches with repeats, AAAA among them, and a checkpoint in between."""
    problem = DesignProblem(Pairs(), FromNothing(4), constraints=[MaxHomopolymer(4)])
    generator = torch.Generator().manual_seed(0)
    kept, everything = BestOverall(20, 4), {}
    for step in range(30):
        tokens = torch.randint(4, (25, 4), generator=generator)
        tokens[0] = 0
        evaluation = problem.evaluate(tokens)
        everything |= dict(zip(map(tuple, tokens.tolist()), evaluation.scores.tolist(), strict=True))
        kept.update(problem, tokens, evaluation)
        best = sorted(everything, key=lambda each: -everything[each])[:20]
        count = len(kept)
        assert count == min(20, len(everything))
        assert len(kept.tokens[:count].unique(dim=0)) == count  # ties may go either way
        rows = [tuple(row) for row in kept.tokens[:count].tolist()]
        assert [everything[row] for row in rows] == kept.scores[:count].tolist()
        assert kept.scores[:count].tolist() == [everything[each] for each in best]
        if step == 10:
            again = BestOverall(20, 4)
            again.load_state_dict(kept.state_dict())
            kept = again


def test_a_sequence_that_breaks_a_rule_is_not_kept() -> None:
    problem = DesignProblem(Pairs(), FromNothing(4), constraints=[MaxHomopolymer(1)])
    kept = BestOverall(300, 4)
    tokens = torch.cartesian_prod(*[torch.arange(4)] * 4)
    kept.update(problem, tokens, problem.evaluate(tokens))
    assert len(kept) == 4 * 27
    assert (kept.tokens[: len(kept), 1:] != kept.tokens[: len(kept), :-1]).all()
