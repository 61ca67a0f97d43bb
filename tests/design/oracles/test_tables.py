"""The measured tables, and oracles made of several."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from discrete_lightning.design.alphabet import DNA, PROTEIN
from discrete_lightning.design.oracles import (
    GB1,
    BlackBox,
    Ensemble,
    GB1Surrogate,
    TFBind8,
    WeightedSum,
)
from tests.design.toy_oracles import Linear

DATA = os.environ.get("DISCRETE_LIGHTNING_DATA")


def one_hot(sequences: list[str], alphabet: object = DNA) -> torch.Tensor:
    tokens = alphabet.encode_all(sequences)  # type: ignore[attr-defined]
    return torch.nn.functional.one_hot(tokens, len(alphabet)).mT.float()  # type: ignore[arg-type]


def test_tfbind8_is_the_expectation_of_the_table() -> None:
    oracle = TFBind8()
    logits = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    probabilities = torch.softmax(logits, -1)
    joint = probabilities[0]
    for row in probabilities[1:]:
        joint = joint.unsqueeze(-1) * row
    expected = float((joint * oracle.table.double()).sum())
    assert oracle(probabilities.T).item() == pytest.approx(expected, abs=1e-6)
    assert oracle(one_hot(["AGGTATCA", "TGATACCT"])).tolist() == pytest.approx([0.49105, 0.49105])
    with pytest.raises(ValueError, match=r"got shape \(2, 8, 4\)"):
        oracle(torch.zeros(2, 8, 4))


def test_tfbind8_is_exact_under_low_precision() -> None:
    oracle, x = TFBind8(), one_hot(["AGGTATCA", "TGATATCA"])
    exact = oracle(x)
    assert torch.equal(TFBind8().bfloat16()(x.bfloat16()), exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(oracle(x), exact)


def test_gb1() -> None:
    tokens, values = GB1().measured()
    assert tokens.shape == (149_361, 4)
    best = PROTEIN.decode(tokens[values.argmax()])
    found = GB1()(one_hot(["VDGV", best], PROTEIN))
    assert found.tolist() == pytest.approx([0.0, 2.1627672])
    assert torch.equal(GB1()(torch.nn.functional.one_hot(tokens[:500], 20).mT.float()), values[:500])
    with pytest.raises(ValueError, match=r"\(batch, 20, 4\), got \(1, 4, 4\)"):
        GB1()(torch.zeros(1, 4, 4))


@pytest.mark.skipif(DATA is None or not Path(DATA, "gb1").is_dir(), reason="DISCRETE_LIGHTNING_DATA has no gb1/")
def test_gb1_is_the_published_table() -> None:
    assert DATA is not None
    published = np.load(Path(DATA, "gb1", "gb1_4site.npz"))
    ours = GB1()(torch.nn.functional.one_hot(torch.from_numpy(published["tokens"].astype(np.int64)), 20).mT.float())
    assert np.array_equal(ours.numpy(), published["log_enrichment"])


def test_gb1_surrogate_learns_and_repeats_itself() -> None:
    before = torch.random.get_rng_state()
    surrogate = GB1Surrogate(training=1500, members=2, epochs=15, pessimism=0.0)
    surrogate.prepare_oracle()
    assert torch.equal(torch.random.get_rng_state(), before)
    tokens, values = GB1().measured()
    chosen = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(9))[:3000]
    x = torch.nn.functional.one_hot(tokens[chosen], 20).mT.float()
    with torch.no_grad():
        scores = surrogate(x)
    assert torch.corrcoef(torch.stack([scores, values[chosen].clamp_min(-6)]))[0, 1] > 0.5
    weights = {key: value.clone() for key, value in surrogate.state_dict().items()}
    again = GB1Surrogate(training=1500, members=2, epochs=15, pessimism=0.0)
    again.prepare_oracle()
    assert all(torch.equal(value, weights[key]) for key, value in again.state_dict().items())


def test_weighted_sum_and_its_errors() -> None:
    one, two = Linear(5, seed=0), Linear(5, seed=1)
    oracle = WeightedSum([one, two], [2.0, -1.0])
    x = one_hot(["ACGTA", "GGGGG"])
    torch.testing.assert_close(oracle(x), 2 * one(x) - two(x))
    torch.testing.assert_close(oracle.objectives(oracle.components(x))[:, 1], -two(x))
    torch.testing.assert_close(oracle.objectives(oracle.components(x), -1.0)[:, 1], two(x))
    assert oracle.names == ["Linear_1", "Linear_2"]
    for weights, names in (([1.0], None), ([1.0, 0.0], None), ([1.0, 1.0], ["a", "a"])):
        with pytest.raises(ValueError):
            WeightedSum([one, two], weights, names)


def test_ensemble_subtracts_its_uncertainty() -> None:
    members = [Linear(5, seed=seed) for seed in range(4)]
    x = one_hot(["ACGTA", "GGGGG"])
    scores = torch.stack([member(x) for member in members])
    torch.testing.assert_close(Ensemble(members, pessimism=2.0)(x), scores.mean(0) - 2 * scores.std(0))
    same = Ensemble([members[0], members[0]])
    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(same(y).sum(), y)
    assert slope.isfinite().all()
    with pytest.raises(ValueError, match="two or more members"):
        Ensemble([nn.Identity()])


def test_black_box() -> None:
    oracle = BlackBox(lambda sequences: [len(set(sequence)) for sequence in sequences], "AB")
    assert oracle(torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="not one-hot"):
        oracle(torch.full((1, 2, 2), 0.5))
    with pytest.raises(ValueError, match=r"2 sequences, shape \(1,\)"):
        BlackBox(lambda _: [1.0], "AB")(torch.eye(2).expand(2, 2, 2))
