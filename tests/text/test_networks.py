"""Networks with a cache: the same logits as in one pass, however a text is cut."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softmax

from discrete_lightning.layers.causal_attention import CausalAttention, rotated
from discrete_lightning.text.networks import GRUNetwork, TokenNetwork, TransformerNetwork
from tests.references.inputs import seeded
from tests.text.networks_for_tests import KINDS, VOCABULARY, network

LENGTH = 6
TOKENS = torch.randint(VOCABULARY, (3, LENGTH), generator=seeded(1))
SPLITS = [cut for k in range(LENGTH) for cut in itertools.combinations(range(1, LENGTH), k)]  # all 32


def in_chunks(net: TokenNetwork, tokens: Tensor, cuts: tuple[int, ...]) -> Tensor:
    cache, found = None, []
    for start, end in itertools.pairwise([0, *cuts, tokens.shape[1]]):
        logits, cache = net.logits(tokens[:, start:end], cache)
        found.append(logits)
    return torch.cat(found, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-1)])
def test_any_chunks_give_the_logits_of_one_pass(kind: str, dtype: torch.dtype, error: float) -> None:
    net = network(kind).to(dtype)
    whole = net(TOKENS)
    assert whole.dtype == dtype
    scale = float(whole.detach().float().std())
    for cuts in SPLITS:
        torch.testing.assert_close(in_chunks(net, TOKENS, cuts), whole, rtol=0, atol=error * max(1, scale))


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_give_the_gradient_of_one_pass(kind: str) -> None:
    net = network(kind).double()
    weights = torch.randn(3, LENGTH, VOCABULARY, generator=seeded(2), dtype=torch.float64)
    expected = torch.autograd.grad((net(TOKENS) * weights).sum(), list(net.parameters()))
    found = torch.autograd.grad((in_chunks(net, TOKENS, (1, 2, 5)) * weights).sum(), list(net.parameters()))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_do_not_see_later_tokens(kind: str) -> None:
    net = network(kind)
    other = TOKENS.clone()
    other[:, 4:] = (other[:, 4:] + 1) % VOCABULARY
    torch.testing.assert_close(net(other)[:, :4], net(TOKENS)[:, :4])
    assert not torch.allclose(net(other)[:, 4:], net(TOKENS)[:, 4:])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_cache_are_selected(kind: str) -> None:
    net = network(kind)
    _, cache = net.logits(TOKENS[:, :3])
    rows = torch.tensor([2, 0, 2, 1])
    found, _ = net.logits(TOKENS[rows, 3:], net.select(cache, rows))
    torch.testing.assert_close(found, net(TOKENS[rows])[:, 3:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_several_continuations_start_from_one_cache(kind: str) -> None:
    net = network(kind)
    _, cache = net.logits(TOKENS[:, :3])
    first, _ = net.logits(TOKENS[:, 3:], cache)
    net.logits((TOKENS[:, 3:] + 1) % VOCABULARY, cache)
    again, _ = net.logits(TOKENS[:, 3:], cache)
    assert torch.equal(first, again)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_and_head_are_the_logits(kind: str) -> None:
    net = network(kind)
    hidden, _ = net.hidden(net.embedding.look_up(TOKENS))
    torch.testing.assert_close(net.head(hidden), net(TOKENS))
    one_hot = torch.nn.functional.one_hot(TOKENS, VOCABULARY).float()
    torch.testing.assert_close(net.hidden(one_hot @ net.embedding.weight)[0], hidden)


def test_what_is_carried_has_no_gradient_and_a_transformer_carries_nothing() -> None:
    net = network("gru")
    _, cache = net.logits(TOKENS)
    carried = net.carried(cache)
    assert cache.requires_grad
    assert not carried.requires_grad
    assert torch.equal(carried, cache)
    other = network("transformer")
    assert other.carried(other.logits(TOKENS)[1]) is None


def test_a_full_context_is_refused() -> None:
    net = network("transformer", context=4)
    with pytest.raises(ValueError, match="context=4 tokens, got 5: give fewer"):
        net(TOKENS[:, :5])
    _, cache = net.logits(TOKENS[:, :3])
    net.logits(TOKENS[:, :1], cache)
    with pytest.raises(ValueError, match="context=4 tokens, got 2 after 3"):
        net.logits(TOKENS[:, :2], cache)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows(kind: str) -> None:
    assert network(kind)(torch.zeros(0, 3, dtype=torch.int64)).shape == (0, 3, VOCABULARY)


def test_bad_arguments() -> None:
    for arguments in ({"vocabulary": 0}, {"dim": 0}, {"hidden_dim": 0}, {"layers": 0}, {"dropout": 1.0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            GRUNetwork(**{"vocabulary": 4, **arguments})  # type: ignore[arg-type]
    for arguments in ({"vocabulary": 0}, {"context": 0}, {"dim": 6}, {"heads": 0}, {"layers": 0}, {"dropout": -0.1}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            TransformerNetwork(**{"vocabulary": 4, "dim": 16, "heads": 2, **arguments})  # type: ignore[arg-type]


# The attention alone


def naive_attention(layer: CausalAttention, x: Tensor) -> Tensor:
    """One query, one key at a time; positions as complex numbers."""
    batch, length, dim = x.shape
    size = dim // layer.heads
    q, k, v = layer.qkv(x).chunk(3, -1)
    speed = 1000.0 ** (-torch.arange(size // 2, dtype=x.dtype) / (size // 2))

    def turned(row: Tensor, t: int) -> Tensor:
        z = torch.complex(row[: size // 2], row[size // 2 :]) * torch.exp(1j * t * speed)
        return torch.cat([z.real, z.imag])

    out = torch.zeros_like(x)
    for b, t, h in itertools.product(range(batch), range(length), range(layer.heads)):
        part = slice(h * size, (h + 1) * size)
        scores = torch.stack([turned(q[b, t, part], t) @ turned(k[b, s, part], s) for s in range(t + 1)]) / size**0.5
        out[b, t, part] = softmax(scores, 0) @ v[b, : t + 1, part]
    return layer.out(out)


def test_attention_is_that_of_its_formula() -> None:
    torch.manual_seed(3)
    layer = CausalAttention(8, 2).double()
    x = torch.randn(2, 5, 8, generator=seeded(4), dtype=torch.float64)
    expected = naive_attention(layer, x)
    # angles are computed in float32
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-6)
    for cut in range(1, 5):
        first, past = layer.step(x[:, :cut])
        second, past = layer.step(x[:, cut:], past)
        assert past.length == 5
        torch.testing.assert_close(torch.cat([first, second], 1), expected, rtol=0, atol=1e-6)


def test_given_positions_are_used() -> None:
    torch.manual_seed(3)
    layer = CausalAttention(8, 2)
    x = torch.randn(2, 5, 8, generator=seeded(4))
    shifted = layer(x, torch.arange(7, 12).expand(2, 5))
    torch.testing.assert_close(shifted, layer(x), rtol=0, atol=1e-5)  # distances alone count
    assert not torch.allclose(layer(x, torch.arange(0, 10, 2).expand(2, 5)), layer(x), atol=1e-3)


def test_products_of_turned_rows_depend_on_their_distance_alone() -> None:
    q, k = torch.randn(2, 6, generator=seeded(5)).unbind(0)
    rows = torch.arange(20)
    product = (rotated(q.expand(20, 6), rows + 3) * rotated(k.expand(20, 6), rows)).sum(-1)
    torch.testing.assert_close(product, product[:1].expand(20), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dim", "heads"), [(6, 2), (8, 0), (0, 1), (4, 4)])
def test_bad_heads(dim: int, heads: int) -> None:
    with pytest.raises(ValueError, match=f"dim={dim}, heads={heads}"):
        CausalAttention(dim, heads)
