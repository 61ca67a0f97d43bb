"""Two ranks find what one process finds."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from discrete_lightning import distributed
from discrete_lightning.callbacks import DesignWriter
from discrete_lightning.design import (
    Edit,
    Evaluator,
    FromNothing,
    FromSequences,
    GradientSearch,
    MetropolisSearch,
    ParetoSearch,
    Polish,
    Search,
    Start,
    SurrogateSearch,
)
from discrete_lightning.design.constraints import MaxHomopolymer
from discrete_lightning.design.oracles import MotifScan, TFBind8, WeightedSum
from discrete_lightning.models import SequenceDesigner
from tests.design.runs import trainer
from tests.design.toy_oracles import Linear
from tests.ranks import run_on_ranks


def fit_on_ranks(folder: str, ranks: int) -> dict[str, Any]:
    """Designs and oracle calls of eleven kinds of search, on this rank as torchrun would start it."""
    if ranks > 1:
        rank = str(torch.distributed.get_rank())
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
        os.environ |= {"NODE_RANK": "0", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # the group is there already
    small = GradientSearch(chains=5, steps=4, learning_rate=1.0, polish=Polish(proposals=3, patience=1, sequences=3))
    two = WeightedSum([TFBind8(), MotifScan("GATA2")], [1.0, -0.1], names=["tf", "gata2"])
    kinds: dict[str, tuple[nn.Module, Search, Start]] = {
        "nothing": (TFBind8(), small, FromNothing(8)),
        "edit": (
            TFBind8(),
            GradientSearch(chains=3, steps=3, polish=Polish(sequences=1, restarts=2, calls=40)),
            Edit("ACGTACGT", 0.01),
        ),
        "planned": (TFBind8(), GradientSearch(calls=90), FromNothing(8)),
        "planned edits": (TFBind8(), GradientSearch(calls=210), Edit("ACGTACGT", 0.01)),
        "planned from given": (
            TFBind8(),
            GradientSearch(calls=205),
            FromSequences(["ACGTACGT", "AATTCCGG", "GTCAGTCA"]),
        ),
        "insertions": (
            TFBind8(),
            GradientSearch(chains=3, steps=3, polish=Polish(sequences=2, restarts=2, calls=40)),
            Edit("ACGTACGT", 0.01, indels=2, flank="GG"),
        ),
        "surrogate": (TFBind8(), SurrogateSearch(calls=35, batch=7, first=14), FromNothing(8)),
        "two": (two, GradientSearch(chains=3, steps=3, polish=Polish(sequences=1, calls=10)), FromNothing(8)),
        "chains": (TFBind8(), MetropolisSearch(calls=45, chains=6), FromNothing(8)),
        "front": (two, ParetoSearch(calls=75, directions=5), FromNothing(8)),
        # its parameters require gradients, for which DistributedDataParallel would wait
        "trainable": (
            Linear(8),
            GradientSearch(chains=3, steps=3, polish=Polish(sequences=1, calls=10)),
            FromNothing(8),
        ),
    }
    found = {}
    for kind, (oracle, made, start) in kinds.items():
        torch.manual_seed(7)
        designer = SequenceDesigner(
            oracle, start, search=made, constraints=[MaxHomopolymer(3)], diverse=kind == "insertions"
        )
        torch.manual_seed(100 + distributed.rank())  # ranks that were seeded apart
        options = {"strategy": "ddp", "devices": ranks} if ranks > 1 else {}
        trainer(Path(folder), callbacks=[DesignWriter(kind)], **options).fit(designer)
        designs = [  # a convolution's last bit depends on the size of the batch
            (design.sequence, round(design.score, 5), design.calls)
            for design in designer.designs() + designer.pareto_designs()
        ]
        found[kind] = (designs, designer.problem.evaluator.count)
    return found


def test_two_ranks_find_what_one_process_finds(tmp_path: Path) -> None:
    alone, ranks = tmp_path / "alone", tmp_path / "ranks"
    expected = fit_on_ranks(str(alone), 1)
    assert run_on_ranks(fit_on_ranks, str(ranks), 2) == [expected, expected]
    files = {path.name: path.read_text() for path in ranks.iterdir() if path.is_file()}
    written = {f"{kind}.{end}" for kind in expected for end in ("csv", "fasta")}
    answers = {name: files.pop(name) for name in ("answers.jsonl", "answers-rank1.jsonl")}  # of the surrogate, by rank
    assert sum(text.count('"sequences":') for text in answers.values()) == 8
    assert set(files) == written | {"pareto.csv", "pareto-2.csv"}  # one merged report of each of two
    assert all((alone / name).read_text() == text for name, text in files.items())


class FailsOnOneRank(nn.Module):
    """A sequence in the share of rank 1 that it cannot score."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if distributed.rank() == 1:
            raise KeyError("a sequence of this share")
        return x.sum((1, 2))


class Slow(FailsOnOneRank):
    """Fails after a first call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x.sum((1, 2)) if self.calls == 1 else super().forward(x)


def scored_on_a_rank() -> list[tuple[str, str, int]]:
    found = []
    for oracle, calls, gradient in ((FailsOnOneRank(), 1, False), (Slow(), 2, True)):
        evaluator = Evaluator(oracle)
        try:
            for _ in range(calls):
                evaluator.evaluate(torch.ones(5, 4, 4), gradient)
        except Exception as error:
            found.append((type(error).__name__, str(error), evaluator.count))
    # both are in step: the next evaluation is right on both
    total = Evaluator(Linear(4)).score(torch.ones(3, 4, 4)).sum()
    return [*found, ("sum", f"{float(total):.4f}", 3)]


def test_an_oracle_that_fails_on_one_rank_ends_both() -> None:
    first, second = run_on_ranks(scored_on_a_rank, seconds=30)
    for (kind, text, count), (other, its, same) in zip(first[:2], second[:2], strict=True):
        assert kind == "RuntimeError"
        assert text.endswith("failed on rank 1 of 2, whose message says why")
        assert other == "KeyError"
        assert "a sequence of this share" in its
        assert count == same
    assert first[2] == second[2]
