"""Drawing token by token: against loops of full passes, by the same noise."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import gumbel_max
from discrete_lightning.functional.truncate_logits import truncate_logits
from discrete_lightning.text.generation import generate, sample_sequences, sequence_log_probabilities, stream_tokens
from discrete_lightning.text.networks import TokenNetwork
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import seeded
from tests.text.networks_for_tests import KINDS, VOCABULARY, Bigrams, network

PROMPT = torch.randint(VOCABULARY, (3, 4), generator=seeded(1))


def full_passes(net: TokenNetwork, prompt: Tensor, tokens: int, temperature: float, seed: int, **cut: Any) -> Tensor:
    """A full pass for each token, of all that fits the context."""
    generator, seen, found = seeded(seed), prompt, []
    for _ in range(tokens):
        if net.context is not None and seen.shape[1] > net.context:
            seen = seen[:, -(net.context // 2) :]
        last = net(seen)[:, -1].detach()
        if temperature == 0:
            chosen = last.argmax(-1)
        else:
            chosen = gumbel_max(truncate_logits(last, temperature, **cut), generator=generator)
        found.append(chosen)
        seen = torch.cat([seen, chosen.unsqueeze(1)], 1)
    return torch.stack(found, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("temperature", "cut"), [(0, {}), (1.0, {}), (0.7, {"top_k": 4}), (1.3, {"top_p": 0.8, "min_p": 0.02})]
)
def test_the_cache_changes_no_token(kind: str, temperature: float, cut: dict[str, Any]) -> None:
    """20 tokens over a context of 8, where there is one."""
    net = network(kind, context=8)
    found = generate(net, PROMPT, 20, temperature, generator=seeded(5), **cut)
    assert found.tolist() == full_passes(net, PROMPT, 20, temperature, 5, **cut).tolist()


def test_a_context_of_one_token() -> None:
    net = network("transformer", context=1)
    assert generate(net, PROMPT[:, :1], 5, 0).shape == (3, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_most_likely_tokens(kind: str) -> None:
    net = network(kind)
    best = generate(net, PROMPT, 10, 0)
    for cut in ({"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}):
        assert torch.equal(generate(net, PROMPT, 10, 1.7, generator=seeded(3), **cut), best)


def test_the_same_generator_the_same_text() -> None:
    net = network("gru")
    before = torch.get_rng_state()
    first, again, other = (generate(net, PROMPT, 12, generator=seeded(n)) for n in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_log_probabilities_are_of_what_was_drawn_from() -> None:
    net = network("gru")
    logits = net(PROMPT)[:, -1]
    _, log_p = next(stream_tokens(net, PROMPT, 0.7, top_k=3))
    torch.testing.assert_close(log_p, truncate_logits(logits, 0.7, top_k=3).log_softmax(-1))
    assert log_p.isfinite().sum(-1).tolist() == [3, 3, 3]
    chosen, log_p = next(stream_tokens(net, PROMPT, 0))
    assert log_p.gather(1, chosen.unsqueeze(1)).tolist() == [[0.0]] * 3
    assert not log_p.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_drawn_tokens_are_those_of_one_pass(kind: str) -> None:
    net = network(kind)
    sampled = sample_sequences(net, PROMPT, 9, generator=seeded(2))
    assert sampled.mask.all()
    assert not sampled.ended.any()
    found = sequence_log_probabilities(net, PROMPT, sampled.tokens)
    torch.testing.assert_close(found, sampled.log_probabilities, rtol=0, atol=1e-5)
    whole = net(torch.cat([PROMPT, sampled.tokens], 1)).log_softmax(-1)
    expected = torch.stack([whole[:, 3 + t].gather(1, sampled.tokens[:, t : t + 1])[:, 0] for t in range(9)], 1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("end", "ends"), [(2, 1), ([0, 1, 2], 2), (2, 3)])
def test_sequences_go_up_to_their_last_end(kind: str, end: Any, ends: int) -> None:
    net, prompt = network(kind, context=64), PROMPT[:1].expand(40, -1)
    with torch.no_grad():  # nearly uniform: lengths differ
        net.embedding.weight.mul_(0.2)
        net.head.bias.zero_()
    sampled = sample_sequences(net, prompt, 30, end=end, ends=ends, generator=seeded(4))
    stop = [end] if isinstance(end, int) else end
    free = generate(net, prompt, sampled.tokens.shape[1], generator=seeded(4))
    lengths = []
    for tokens, log_p, mask, ended, other in zip(
        sampled.tokens, sampled.log_probabilities, sampled.mask, sampled.ended, free, strict=True
    ):
        places = [t for t, token in enumerate(tokens.tolist()) if token in stop and mask[t]]
        length = int(mask.sum())
        lengths.append(length)
        assert mask[:length].all()
        assert bool(ended) == (len(places) == ends)
        if ended:
            assert places[-1] == length - 1
            assert (tokens[length:] == stop[0]).all()
            assert not log_p[length:].any()
        else:
            assert length == 30
        assert (log_p[:length] <= 0).all()
        assert log_p[:length].isfinite().all()
        assert tokens[0] == other[0]
        assert tokens.tolist()[:length] == other.tolist()[:length]  # the end of a row changes no other row
    assert min(lengths) < max(lengths)
    assert sampled.tokens.shape[1] == max(lengths)


def test_sequences_are_drawn_from_the_model() -> None:
    """60,000 sequences of three of five tokens, ended early by token 0, against enumeration: p > 0.001."""
    model, draws = Bigrams(), 60_000
    sampled = sample_sequences(model, torch.full((draws, 1), 3), 3, end=0, generator=seeded(7))
    number = (sampled.tokens * torch.tensor([25, 5, 1])).sum(1)
    log_p = model.table.log_softmax(-1)
    expected = torch.zeros(125)
    for tokens in itertools.product(range(5), repeat=3):
        total, before = 0.0, 3
        for token in tokens:
            total += float(log_p[before, token])
            before = token
            if token == 0:
                break
        ended = tokens.index(0) if 0 in tokens else 3
        if not any(tokens[ended:]):  # after the end there are ends alone
            expected[int(tokens[0] * 25 + tokens[1] * 5 + tokens[2])] = math.exp(total)
    assert expected.sum() == pytest.approx(1, abs=1e-5)
    assert chi_square_p(number.bincount(minlength=125), expected) > 0.001


def test_nothing_is_asked_for() -> None:
    assert generate(network("gru"), PROMPT, 0).shape == (3, 0)
    assert generate(network("gru"), PROMPT[:0], 2).shape == (0, 2)


@pytest.mark.parametrize(
    ("prompt", "arguments", "words"),
    [
        (PROMPT[0], {}, r"integers \(B, S\).*\(4,\)"),
        (PROMPT[:, :0], {}, r"one token or more.*\(3, 0\)"),
        (PROMPT.float(), {}, "float32"),
        (PROMPT, {"temperature": -1.0}, "temperature"),
        (PROMPT, {"temperature": math.nan}, "temperature"),
        (PROMPT, {"top_k": VOCABULARY + 1}, "top_k"),
        (PROMPT, {"top_p": 1.5}, "top_p"),
        (PROMPT, {"tokens": -1}, "tokens"),
        (PROMPT.repeat(1, 3), {}, "12 tokens.*context=8"),
    ],
)
def test_bad_input(prompt: Tensor, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        generate(network("transformer", context=8), prompt, **{"tokens": 3, **arguments})


def test_bad_sequences() -> None:
    with pytest.raises(ValueError, match="length"):
        sample_sequences(network("gru"), PROMPT, 0)
    with pytest.raises(ValueError, match="ends"):
        sample_sequences(network("gru"), PROMPT, 3, ends=0)
    with pytest.raises(ValueError, match=r"4 tokens.*length=6.*context=8"):
        sample_sequences(network("transformer", context=8), PROMPT, 6)
    assert sample_sequences(network("transformer", context=8), PROMPT, 5).tokens.shape == (3, 5)
