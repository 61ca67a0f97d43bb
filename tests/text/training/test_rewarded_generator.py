"""Generators of lines trained by a reward: errors, what is credited, the reference, resume and the report's bound."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything

from discrete_lightning.models import RewardedGenerator
from discrete_lightning.nn import GRUNetwork
from discrete_lightning.text import SampledSequence, form_divergence
from discrete_lightning.text.training.line_generator import Drawn
from tests.tiny_images import quiet_trainer
from tests.tiny_lines import ShareOfCats, TinyLines

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")


def generator(reward: Any = None, **arguments: Any) -> RewardedGenerator:
    seed_everything(0, verbose=False)
    given = {"adapt_steps": 30, "base_epochs": 1.0, "length": 12, "samples": 32, "kl_weight": 0.1} | arguments
    return RewardedGenerator(reward or ShareOfCats(), network=GRUNetwork(280, dim=16, hidden_dim=32), **given)


def trained(model: RewardedGenerator, folder: Path, steps: int, **arguments: Any) -> Any:
    trainer = quiet_trainer(max_steps=steps, default_root_dir=str(folder), **arguments)
    trainer.fit(model, TinyLines())
    return trainer


def test_a_reward_is_learnt_and_the_reference_stays(tmp_path: Path) -> None:
    model = generator(learning_rate=1e-2)
    trained(model, tmp_path, 40, max_epochs=-1)
    model.eval()
    noise = torch.Generator().manual_seed(0)
    mine = torch.tensor(model.reward(model.draw(300, generator=noise).texts)).sum(1).mean()
    theirs = torch.tensor(model.reward(model.draw(300, reference=True, generator=noise).texts)).sum(1).mean()
    assert mine > theirs + 0.3, (mine, theirs)
    assert not any(each.requires_grad for each in model.reference.parameters())
    again = RewardedGenerator.load_from_checkpoint
    trainer = quiet_trainer(max_epochs=1, default_root_dir=str(tmp_path))
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    restored = again(tmp_path / "a.ckpt", reward=model.reward)
    for name, each in model.state_dict().items():
        torch.testing.assert_close(restored.state_dict()[name], each, rtol=0, atol=0)
    assert restored.tokenizer == model.tokenizer


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda texts: [0.0] * (len(texts) - 1), r"the reward returned shape \(31,\) for 32 texts: expected \(32,\)"),
        (lambda texts: [[0.0] * 3] * len(texts), r"shape \(32, 3\) for 32 texts"),
        (lambda texts: [math.nan] * len(texts), "the reward returned nan for the text '.*': expected finite numbers"),
        (lambda texts: [[0.0, math.inf]] * len(texts), "returned .*inf.* for the text"),
    ],
)
def test_what_a_reward_may_not_return(reward: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        trained(generator(reward, adapt_steps=0), tmp_path, 1)


def test_rewards_stand_where_they_were_earned(tmp_path: Path) -> None:
    model = generator(lambda texts: [[1.0, 10.0]] * len(texts))
    model.use_tokenizer(TinyLines().tokenizer)
    end, word = model.end_token(), 256
    tokens = torch.tensor([[word, end, word, word, end], [end, word, end, end, end], [word, word, word, word, word]])
    mask = torch.tensor([[True] * 5, [True, True, True, False, False], [True] * 5])
    drawn = Drawn(SampledSequence(tokens, torch.zeros(3, 5), mask, torch.tensor([True, True, False])), ["", "", ""])
    expected = torch.tensor([[0.0, 1, 0, 0, 10], [1, 0, 10, 0, 0], [0, 0, 0, 0, 11]])
    torch.testing.assert_close(model.rewards_of(drawn), expected)


def test_steps_and_kl_of_scores_are_those_of_naive_passes(tmp_path: Path) -> None:
    model = generator()
    trained(model, tmp_path, 2)
    model.eval()
    drawn = model.draw(16, generator=torch.Generator().manual_seed(1)).sequences
    log_p, kl = model.scored(drawn)
    prompt = torch.full((16, 1), model.end_token())
    for row in range(16):
        for place in range(int(drawn.mask[row].sum())):
            tokens = torch.cat([prompt[row], drawn.tokens[row, :place]]).unsqueeze(0)
            p, q = (
                network(tokens)[0, -1].masked_fill(~model.allowed, -torch.inf).double().log_softmax(-1)
                for network in (model.network, model.reference)
            )
            finite = model.allowed
            expected = (p[finite].exp() * (p[finite] - q[finite])).sum()
            torch.testing.assert_close(kl[row, place].double(), expected, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(log_p[row, place].double(), p[drawn.tokens[row, place]], rtol=1e-4, atol=1e-5)
    assert not bool(kl[~drawn.mask].any())


def test_tokens_that_a_reward_does_not_know_are_never_drawn(tmp_path: Path) -> None:
    class Cats(ShareOfCats):
        def knows(self, piece: str) -> bool:
            return piece in ("\n", " cat", "cat", ".")

    model = generator(Cats())
    trained(model, tmp_path, 1)
    texts = model.eval().draw(50, generator=torch.Generator().manual_seed(0)).texts
    assert {char for text in texts for char in text} <= set("\n cat.")


def test_shared_features_are_no_part_of_the_state(tmp_path: Path) -> None:
    class Featured(ShareOfCats):
        def features(self, piece: str) -> list[str]:
            return ["animal"] if piece.strip() in ("cat", "dog") else []

    model = generator(Featured())
    before = set(model.state_dict())
    trainer = trained(model, tmp_path, 3)
    assert model.shared is not None
    assert not bool(model.shared.projection.any())  # folded into the table
    assert set(model.state_dict()) == before
    trainer.save_checkpoint(tmp_path / "b.ckpt")
    RewardedGenerator.load_from_checkpoint(tmp_path / "b.ckpt", reward=model.reward)
    table = model.network.embedding.weight
    cat, dog = (model._tokens_of(" " + word)[0] for word in ("cat", "dog"))
    assert not torch.equal(table[cat], model.reference.embedding.weight[cat])
    assert not torch.equal(table[dog], model.reference.embedding.weight[dog])


def test_the_weight_of_the_kl_is_one_that_callbacks_anneal(tmp_path: Path) -> None:
    from discrete_lightning.callbacks import WeightAnnealing
    from discrete_lightning.schedules import Linear

    model = generator(kl_weight=0.1)
    trained(model, tmp_path, 2, callbacks=[WeightAnnealing(Linear(0.5, 0.4, 1), only=["kl_weight"])])
    assert 0.4 <= float(model.kl_weight()) <= 0.5


def test_dropout_is_off_in_draws_and_scores(tmp_path: Path) -> None:
    seed_everything(0, verbose=False)
    model = RewardedGenerator(
        ShareOfCats(), network=GRUNetwork(280, dim=16, hidden_dim=32, dropout=0.5), adapt_steps=0, length=8, samples=4
    )
    model.use_tokenizer(TinyLines().tokenizer)
    model.train()
    drawn = model.draw(8, generator=torch.Generator().manual_seed(0)).sequences
    torch.testing.assert_close(model.scored(drawn)[0].detach(), drawn.log_probabilities, rtol=1e-4, atol=1e-4)


def test_a_line_longer_than_the_context() -> None:
    from discrete_lightning.nn import TransformerNetwork

    model = RewardedGenerator(ShareOfCats(), network=TransformerNetwork(280, 8, 8, 2, 1), length=12)
    model.use_tokenizer(TinyLines().tokenizer)
    with pytest.raises(ValueError, match=r"length=12 are longer than the model's context=8"):
        model.draw(2)


def test_the_bound_is_the_kl_of_the_outcomes() -> None:
    q, p = [0] * 6 + [1] * 3 + [2], [0] * 2 + [1] * 2 + [2] * 6
    expected = 0.6 * math.log(0.6 / 0.2) + 0.3 * math.log(0.3 / 0.2) + 0.1 * math.log(0.1 / 0.6)
    assert form_divergence(q, p) == pytest.approx(expected)
    assert form_divergence(p, p) == 0
    with pytest.raises(ValueError, match="got 0 and 3"):
        form_divergence([], [1, 2, 3])
