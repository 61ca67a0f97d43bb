"""CausalTransformer: causal with every feed-forward and with conditional blocks, positions, bad arguments."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.layers.causal_attention import rotated
from discrete_lightning.models import DenseFeedForward, MixtureFeedForward
from discrete_lightning.nn import Conditional, MixtureOfExperts
from discrete_lightning.routing.training.transformer import Block, CausalTransformer
from tests.references.inputs import seeded

SMALL: dict[str, Any] = {"vocabulary": 11, "context": 12, "dim": 8, "heads": 2, "layers": 2}
FORMS: dict[str, dict[str, Any]] = {
    "dense": {"feed_forward": DenseFeedForward(6)},
    "function": {"feed_forward": lambda dim: nn.Linear(dim, dim)},
    "top_k": {"feed_forward": MixtureFeedForward(4, 2, 6, router="top_k")},
    "bias_balanced": {"feed_forward": MixtureFeedForward(4, 2, 6)},
    "paired": {"feed_forward": MixtureFeedForward(4, 1, 6, router="paired")},
    "depth": {"feed_forward": DenseFeedForward(6), "share": 0.5},
    "depth of feed-forward": {"feed_forward": DenseFeedForward(6), "share": 0.5, "conditional": "feed_forward"},
    "all": {"feed_forward": MixtureFeedForward(4, 2, 6), "share": 0.5, "conditional": "feed_forward"},
    "both": {"feed_forward": MixtureFeedForward(4, 2, 6), "share": [1, 0.5]},
}


def built(form: str) -> CausalTransformer:
    torch.manual_seed(0)
    return CausalTransformer(**SMALL, **FORMS[form]).eval()


@pytest.mark.parametrize("form", FORMS)
def test_later_tokens_change_nothing_before_them(form: str) -> None:
    model, tokens = built(form), torch.randint(11, (3, 12), generator=seeded(0))
    with torch.no_grad():
        logits = model(tokens)
        assert torch.equal(logits, model(tokens))  # equal to the bit in two passes
        for place in (4, 11):
            other = tokens.clone()
            other[:, place:] = (other[:, place:] + 1) % 11
            changed = model(other)
            torch.testing.assert_close(changed[:, :place], logits[:, :place], rtol=1e-5, atol=1e-5)
            assert not torch.allclose(changed[:, place:], logits[:, place:], atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_all_parameters_get_a_gradient(form: str) -> None:
    model = built(form).train()
    model(torch.randint(11, (3, 12), generator=seeded(1))).square().sum().backward()
    missing = [name for name, each in model.named_parameters() if each.grad is None or not each.grad.isfinite().all()]
    assert not missing


def test_scores_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(2, 8, generator=seeded(2)).double()
    positions = torch.zeros(10, 1, dtype=torch.float64)
    scores = rotated(positions + q) @ rotated(positions + k).T
    for shift in range(9):
        diagonal = scores.diagonal(shift)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-5, atol=1e-5)
    assert scores[0].unique().numel() == 10


def test_order_matters() -> None:
    model, tokens = built("dense"), torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4]])
    first, second = model(tokens)[:, -1]
    assert not torch.allclose(first, second, atol=1e-4)


def test_which_blocks_are_conditional() -> None:
    every = CausalTransformer(**{**SMALL, "layers": 4}, **FORMS["depth"])
    both = {**FORMS["both"], "share": [1, 0.5, 1, 0.5]}
    second = CausalTransformer(**{**SMALL, "layers": 4}, **both)
    assert [isinstance(each, Conditional) for each in every.blocks] == [True] * 4
    assert [isinstance(each, Conditional) for each in second.blocks] == [False, True, False, True]


def test_the_dense_layer_has_the_flops_of_a_token() -> None:
    mixture = MixtureFeedForward(count=6, k=2, hidden=10)
    sparse, dense = mixture(8), mixture.dense()(8)
    assert isinstance(sparse, MixtureOfExperts)
    experts = sum(each.numel() for each in sparse.experts.parameters()) * 2 // 6
    assert experts + sparse.router.weight.numel() == sum(each.numel() for each in dense.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 3}, r"dim must be a multiple of 2 \* heads, got dim=8, heads=3"),
        ({"heads": 8}, "multiple of 2"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"share": 0.0}, r"share is the share of tokens that pass a block, in \(0, 1\], got 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CausalTransformer(**(SMALL | {"feed_forward": DenseFeedForward(4)} | arguments))


def test_a_sequence_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="at most context=12 tokens, got 13"):
        built("dense")(torch.zeros(1, 13, dtype=torch.int64))


def test_bad_feed_forwards() -> None:
    with pytest.raises(ValueError, match="hidden must be at least 1"):
        DenseFeedForward(0)
    with pytest.raises(ValueError, match="count must be at least 1"):
        MixtureFeedForward(count=0)


@pytest.mark.parametrize("training", [True, False])
def test_a_conditional_block_sees_open_tokens_at_their_places(training: bool) -> None:
    torch.manual_seed(0)
    block = Block(8, 2, DenseFeedForward(6)(8))
    layer, x = Conditional(block, 0.5, dim=8).train(training), torch.randn(3, 12, 8)
    gates: list[Tensor] = []
    layer.gate.estimator = "ratio"  # gates of value 1
    layer.gate.register_forward_hook(lambda module, inputs, gated: gates.append(gated.open))
    y = layer(x)
    places = torch.arange(12)
    for row, is_open in enumerate(gates[0]):
        assert 0 < int(is_open.sum()) < 12
        expected = x[row].clone()
        expected[is_open] = block(x[row][is_open].unsqueeze(0), places[is_open].unsqueeze(0))[0]
        torch.testing.assert_close(y[row], expected, rtol=1e-5, atol=1e-6)
    without = block(x[0][gates[0][0]].unsqueeze(0))[0]
    assert not torch.allclose(without, y[0][gates[0][0]], atol=1e-3)  # the places make a difference


def test_each_block_has_its_share() -> None:
    model = CausalTransformer(**SMALL | {"layers": 3}, feed_forward=DenseFeedForward(6), share=[1, 0.5, 0.25])
    found = [each.gate.share if isinstance(each, Conditional) else 1 for each in model.blocks]
    assert found == [1, 0.5, 0.25]
    with pytest.raises(ValueError, match=r"one for each of layers=3 blocks, got \[1, 0.5\]"):
        CausalTransformer(**SMALL | {"layers": 3}, feed_forward=DenseFeedForward(6), share=[1, 0.5])
    with pytest.raises(ValueError, match=r"in \(0, 1\], got \[1, 0\]"):
        CausalTransformer(**SMALL | {"layers": 2}, feed_forward=DenseFeedForward(6), share=[1, 0])


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own, traced
def test_a_conditional_block_is_one_compiled_graph() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    layer, x = Conditional(Block(8, 2, DenseFeedForward(6)(8)), 0.5, dim=8), torch.randn(3, 12, 8)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    compiled(x).sum().backward()
    assert layer.gate.weight.grad is not None
    layer.eval()
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-5, atol=1e-5)
