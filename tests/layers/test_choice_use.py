"""ChoiceUse against naive float64 counts, and what it must not do: read values on the host, need float64."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from scipy.stats import entropy as scipy_entropy
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from discrete_lightning.estimators import GumbelSoftmax
from discrete_lightning.layers.choice_use import ChoiceUse
from discrete_lightning.layers.choices import Choices, choices_made, makes_choices
from discrete_lightning.nn import (
    FiniteScalarQuantizer,
    GumbelQuantizer,
    LookupFreeQuantizer,
    RelaxedBernoulli,
    RelaxedCategorical,
    RelaxedSubset,
    VectorQuantizer,
)
from tests.references.inputs import seeded

K = 6


def passes(k: int, with_mask: bool) -> list[Choices]:
    """Category 5 is never chosen; what stands at masked positions is out of range and NaN."""
    generator, result = seeded(0), []
    for shape in [(4, 3), (0, 3), (2, 5)]:
        logits = 2 * torch.randn(*shape, K, generator=generator)
        chosen = (logits + torch.tensor([0.0] * 5 + [-100.0])).topk(k, -1).indices
        mask = torch.rand(shape, generator=generator) < 0.6 if with_mask else None
        if mask is not None:
            chosen[~mask], logits[~mask] = 999, torch.nan
        result.append(Choices(chosen, K, logits, mask))
    return result


def rows(choices: list[Choices]) -> tuple[np.ndarray, np.ndarray]:
    """What is chosen and the logits at all positions that count, float64."""
    kept = [slice(None) if each.mask is None else each.mask.flatten().numpy() for each in choices]
    chosen = [each.chosen.flatten(0, -2).numpy()[keep] for each, keep in zip(choices, kept, strict=True)]
    logits = [each.logits.flatten(0, -2).double().numpy()[keep] for each, keep in zip(choices, kept, strict=True)]
    return np.concatenate(chosen), np.concatenate(logits)


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("k", [1, 2])
def test_categories(k: int, with_mask: bool) -> None:
    choices = passes(k, with_mask)
    use = ChoiceUse(are_gates=False, device="cpu")
    for each in choices:
        use.add(each)
    chosen, logits = rows(choices)
    counts = np.bincount(chosen.ravel(), minlength=K)
    p = softmax(logits, -1)
    expected = {
        "live_share": np.mean(counts > 0),
        "perplexity": np.exp(scipy_entropy(counts)),
        "load_violation": counts.max() / counts.mean() - 1,
        "dominant_share": counts.max() / len(chosen),
        "choice_entropy": scipy_entropy(p, axis=-1).mean(),
        "marginal_entropy": scipy_entropy(p.mean(0)),
    }
    np.testing.assert_allclose(use.usage(), counts / counts.sum(), rtol=1e-6)
    assert {name: value.item() for name, value in use.figures().items()} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("with_mask", [False, True])
def test_gates(with_mask: bool) -> None:
    """Gate 0 is always open, gate 5 never."""
    bias = torch.tensor([100.0, 0, 0, 0, 0, -100.0])
    choices = [each._replace(chosen=each.logits + bias > 0, logits=each.logits + bias) for each in passes(1, with_mask)]
    use = ChoiceUse(are_gates=True, device="cpu")
    for each in choices:
        use.add(each)
    chosen, logits = rows(choices)
    p = expit(logits)
    expected = {
        "open_share": chosen.mean(),
        "always_open_share": chosen.all(0).mean(),
        "always_closed_share": (~chosen).all(0).mean(),
        "choice_entropy": scipy_entropy([p, 1 - p]).mean(),
        "marginal_entropy": scipy_entropy([p.mean(0), 1 - p.mean(0)]).mean(),
    }
    assert expected["always_open_share"] >= 1 / 6
    np.testing.assert_allclose(use.usage(), chosen.mean(0), rtol=1e-6)
    assert {name: value.item() for name, value in use.figures().items()} == pytest.approx(expected, rel=1e-5)


def test_sizes_may_differ_between_passes() -> None:
    """Choices among the positions of sequences, and one gate a position."""
    use = ChoiceUse(are_gates=False, device="cpu")
    use.add(Choices(torch.tensor([[1]]), 2, torch.zeros(1, 2)))
    use.add(Choices(torch.tensor([[3]]), 4, torch.zeros(1, 4)))
    use.add(Choices(torch.tensor([[1]]), 3))
    assert use.usage().tolist() == pytest.approx([0, 2 / 3, 0, 1 / 3])
    assert use.figures()["choice_entropy"].item() == pytest.approx(1.5 * np.log(2))
    gates = ChoiceUse(are_gates=True, device="cpu")
    gates.add(Choices(torch.tensor([True, False]), 2))
    gates.add(Choices(torch.tensor([True, True, False]), 3))
    assert gates.usage().tolist() == [1, 0.5, 0]
    assert gates.figures()["open_share"].item() == pytest.approx(3 / 5)


def test_without_logits_no_entropy_and_with_nothing_seen_no_nan() -> None:
    use = ChoiceUse(are_gates=False, device="cpu")
    use.add(Choices(torch.zeros(0, 1, dtype=torch.int64), K))
    assert {name: value.item() for name, value in use.figures().items()} == {
        "live_share": 0, "perplexity": 1, "load_violation": 0, "dominant_share": 0,
    }  # fmt: skip


def test_impossible_categories_have_no_entropy() -> None:
    use = ChoiceUse(are_gates=False, device="cpu")
    use.add(Choices(torch.tensor([[0]]), 3, torch.tensor([[0.0, 0.0, -torch.inf]])))
    assert use.figures()["choice_entropy"].item() == pytest.approx(np.log(2))


def test_memory_of_many_categories_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probabilities are computed in blocks, with the same result."""
    monkeypatch.setattr("discrete_lightning.layers.choice_use._BLOCK", 3 * K)
    test_categories(1, True)
    test_gates(True)


class NoHostReads(TorchDispatchMode):
    """Refuses what would make a GPU wait, and what an Apple GPU has not."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket.__name__ not in ("_local_scalar_dense", "nonzero", "bincount", "masked_select"), func
        result = func(*args, **(kwargs or {}))
        assert not isinstance(result, Tensor) or result.dtype != torch.float64, func
        return result


@pytest.mark.parametrize("with_mask", [False, True])
def test_adding_reads_nothing_on_the_host_and_needs_no_float64(with_mask: bool) -> None:
    with NoHostReads():
        for are_gates in (False, True):
            use = ChoiceUse(are_gates, device="cpu")
            for each in passes(2, with_mask):
                use.add(each._replace(chosen=each.logits > 0) if are_gates else each)


@pytest.mark.parametrize(
    ("layer", "shape", "are_gates", "k"),
    [
        (RelaxedCategorical(), (5, 3, K), False, 1),
        (RelaxedCategorical(GumbelSoftmax(), 5.0), (5, K), False, 1),
        (RelaxedBernoulli(), (5, 3, K), True, K),
        (RelaxedBernoulli(GumbelSoftmax(), 5.0), (K,), True, K),
        (RelaxedSubset(2), (5, K), False, 2),
        (RelaxedSubset(2, GumbelSoftmax()), (5, 3, K), False, 2),
        (VectorQuantizer(K, 4), (5, 3, 4), False, 1),
        (GumbelQuantizer(K, 4), (5, 4), False, 1),
        (FiniteScalarQuantizer([3, 2]), (5, 2), False, 1),
        (LookupFreeQuantizer(3), (5, 3), False, 1),
    ],
)
def test_every_layer_tells_what_it_chose(layer: Any, shape: tuple[int, ...], are_gates: bool, k: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    output = layer(x)
    choices = choices_made(layer, {"logits": x}, output)
    assert makes_choices(layer)
    assert choices.are_gates == are_gates
    assert choices.chosen.shape == (*shape[:-1], k)
    assert not choices.chosen.requires_grad
    if isinstance(output, Tensor) and not are_gates:
        others = output.detach().clone().scatter(-1, choices.chosen, -torch.inf)
        assert (others.amax(-1) <= output.gather(-1, choices.chosen).amin(-1)).all()
    ChoiceUse(are_gates, "cpu").add(choices)


def test_a_single_gate_without_a_dimension() -> None:
    layer = RelaxedBernoulli()
    logits = torch.tensor(100.0)
    use = ChoiceUse(are_gates=True, device="cpu")
    use.add(choices_made(layer, {"logits": logits}, layer(logits)))
    assert use.usage().tolist() == [1]


def test_an_unknown_layer_is_named() -> None:
    assert not makes_choices(torch.nn.Linear(2, 2))
    with pytest.raises(TypeError, match="what a Linear chooses"):
        choices_made(torch.nn.Linear(2, 2), {}, None)
