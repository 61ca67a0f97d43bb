"""Tokens that are not allowed are never drawn: those that a tokenizer lacks, for one."""

import torch

from discrete_lightning.data.tokenizers import WordTokenizer
from discrete_lightning.text.generation import generate, sample_sequences
from discrete_lightning.text.limited_network import LimitedNetwork
from discrete_lightning.text.networks import GRUNetwork
from discrete_lightning.text.training.language_model import LanguageModel
from discrete_lightning.text.training.rewarded_generator import RewardedGenerator
from tests.references.inputs import seeded
from tests.text.networks_for_tests import VOCABULARY, network

ALLOWED = torch.arange(VOCABULARY) % 3 == 0


def test_draws_are_among_those_allowed_and_as_the_model_would_draw_them() -> None:
    net = network("gru")
    limited = LimitedNetwork(net, ALLOWED)
    prompt = torch.zeros(50, 3, dtype=torch.int64)
    sampled = sample_sequences(limited, prompt, 6, generator=seeded(1))
    assert ALLOWED[sampled.tokens].all()
    logits = net(torch.cat([prompt, sampled.tokens[:, :-1]], 1))[:, 2:].masked_fill(~ALLOWED, -torch.inf)
    expected = logits.log_softmax(-1).gather(-1, sampled.tokens.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(sampled.log_probabilities, expected, rtol=0, atol=1e-5)


def test_models_draw_tokens_that_their_tokenizer_has() -> None:
    """A short text has fewer words than the network has tokens."""
    tokenizer = WordTokenizer(["the"])
    model = LanguageModel(GRUNetwork(5000, dim=4, hidden_dim=4))
    generator = RewardedGenerator(lambda texts: [0.0] * len(texts), network=GRUNetwork(5000, dim=4, hidden_dim=4))
    for each in (model, generator):
        each.use_tokenizer(tokenizer)
    prompt = torch.zeros(20, 1, dtype=torch.int64)
    assert int(generate(model.drawn_from(), prompt, 10, generator=seeded(1)).max()) < tokenizer.size
    drawn = generator.draw(20, generator=seeded(1))
    assert int(drawn.sequences.tokens.max()) < tokenizer.size
    assert len(drawn.texts) == 20
