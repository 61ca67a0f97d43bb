"""The generator that a judge trains: what it logs, what a checkpoint holds, what is refused, and lessons."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything

from discrete_lightning.data import Shakespeare, TextFiles
from discrete_lightning.data.errors import DataError
from discrete_lightning.estimators import Estimator, LeaveOneOut, ReinMax, StraightThrough
from discrete_lightning.models import JudgedGenerator, KindOfPlay, OtherText
from discrete_lightning.nn import ClassifierJudge, GRUNetwork, Judge, LanguageJudge
from discrete_lightning.text.training.lessons import Lesson
from tests.tiny_images import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")  # the base and the judge are frozen
V = 300
TEXT = "".join(f"the cat and the dog {'and the cow ' * (i % 3)}go\n" for i in range(200))


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the language model is written


@pytest.fixture
def data(tmp_path: Path) -> TextFiles:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(TEXT)
    return TextFiles(f"{tmp_path}/*.txt", context=8, batch_size=4, vocabulary=V)


def network() -> GRUNetwork:
    return GRUNetwork(V, dim=8, hidden_dim=12)


def language() -> LanguageJudge:
    return LanguageJudge(network(), prompt=10)


def model(judge: Judge | None = None, lesson: Lesson | None = None, **arguments: Any) -> JudgedGenerator:
    seed_everything(0, verbose=False)
    given: dict[str, Any] = {"network": network(), "base_epochs": 0.5, "length": 6, "lines": 8, "drawn": 16}
    return JudgedGenerator(ClassifierJudge(V) if judge is None else judge, lesson, **(given | arguments))


@pytest.mark.parametrize("estimator", [StraightThrough(), ReinMax(), LeaveOneOut()], ids=repr)
def test_it_trains_and_logs(estimator: Estimator, data: TextFiles) -> None:
    found = model(language(), OtherText(epochs=0.5), estimator=estimator)
    trainer = quiet_trainer(limit_train_batches=4, limit_val_batches=2)
    trainer.fit(found, data)
    logged = trainer.callback_metrics
    expected = {"judge", "kl", "distinct_2", "nats_per_character", "base_nats_per_character"}
    assert {f"val/{each}" for each in expected} | {"train/judge", "train/kl"} <= set(logged)
    assert all(each.isfinite() for each in logged.values())
    assert logged["val/kl"] > 0
    assert logged["val/nats_per_character"] != logged["val/base_nats_per_character"]
    trainer.test(found, data, verbose=False)
    assert {f"test/{each}" for each in expected} <= set(trainer.callback_metrics)


def test_a_checkpoint_holds_all(data: TextFiles, tmp_path: Path) -> None:
    found = model(language(), OtherText(epochs=0.5))
    trainer = quiet_trainer(limit_train_batches=2, limit_val_batches=1)
    trainer.fit(found, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = JudgedGenerator.load_from_checkpoint(tmp_path / "last.ckpt")
    assert again.tokenizer == found.tokenizer
    for seed in (0, 1):
        mine, theirs = found.draw(5, seed=seed), again.draw(5, seed=seed)
        assert torch.equal(mine.tokens, theirs.tokens)
        assert torch.equal(mine.scores, theirs.scores)
        assert torch.equal(mine.kl, theirs.kl)
    before = {name: each.clone() for name, each in again.judge.state_dict().items()}
    resumed = model(language(), OtherText(epochs=0.5))
    quiet_trainer(max_epochs=2, limit_train_batches=2, limit_val_batches=1).fit(
        resumed, data, ckpt_path=tmp_path / "last.ckpt"
    )
    assert all(torch.equal(each, before[name]) for name, each in resumed.judge.state_dict().items())  # not taught again


def test_the_kl_brake_holds(data: TextFiles) -> None:
    kl = []
    for weight in (0.0, 100.0):
        found = model(language(), OtherText(epochs=0.5), kl_weight=weight, learning_rate=0.01)
        trainer = quiet_trainer(limit_train_batches=20, limit_val_batches=1)
        trainer.fit(found, data)
        kl.append(float(trainer.callback_metrics["val/kl"]))
    assert kl[1] < 0.3 * kl[0]


def test_texts_end_where_their_lines_do(data: TextFiles) -> None:
    found = model()
    quiet_trainer(limit_train_batches=1, limit_val_batches=1).fit(found, data)
    assert found.tokenizer is not None
    words = found.tokenizer.encode("the cat")
    with torch.no_grad():  # words, line ends, and tokens that the data has not
        found.network.head.bias.fill_(-50).index_fill_(0, torch.tensor([*words, 10, V - 1]), 0.0)
        found.network.head.weight.zero_()
    lines = found.draw(50, seed=0)
    texts = found.texts_of(lines)
    assert not any("\n" in each for each in texts)
    for text, row, mask in zip(texts, lines.tokens.tolist(), lines.mask, strict=True):
        kept = [token for token in row[: int(mask.sum())] if token in words]
        assert text == found.tokenizer.decode(kept)


def test_lessons_teach() -> None:
    plays = Shakespeare(tokenizer="bytes", context=8, batch_size=2)
    seed_everything(0, verbose=False)
    judge = ClassifierJudge(256, dim=4, hidden_dim=4)
    said = KindOfPlay(against=["histories"], steps=2, length=40).teach(judge, plays, plays.tokenizer)
    assert "the judge tells comedies from histories: it is right about" in said
    assert not any(each.requires_grad for each in judge.parameters())


def test_a_text_teaches_a_language_judge(data: TextFiles) -> None:
    judge = language()
    tokens = torch.tensor([data.tokenizer.encode("the cat and the dog go\n")])
    before = judge.score_tokens(tokens)
    said = OtherText(epochs=40).teach(judge, data, data.tokenizer)
    assert "tokens of text" in said
    assert judge.score_tokens(tokens) > before + 1
    assert not any(each.requires_grad for each in judge.parameters())
    assert not judge.network.training


def test_bad_input_is_refused(data: TextFiles, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one vocabulary, got V=7 and 300"):
        model(ClassifierJudge(7))
    with pytest.raises(ValueError, match="lines must be at least 2"):
        model(lines=1)
    with pytest.raises(ValueError, match="from 0 to length - 1 = 5, got 6"):
        model(through_last=6)
    with pytest.raises(ValueError, match="teaches a ClassifierJudge, got a LanguageJudge"):
        KindOfPlay().teach(language(), data, data.tokenizer)
    with pytest.raises(ValueError, match="reads the plays of the data Shakespeare, got TextFiles"):
        KindOfPlay().teach(ClassifierJudge(V), data, data.tokenizer)
    with pytest.raises(ValueError, match="comedies against other kinds"):
        KindOfPlay(against=["comedies"])
    with pytest.raises(ValueError, match="epochs is more than 0"):
        OtherText(epochs=0)
    (tmp_path / "empty").write_text("")
    with pytest.raises(DataError, match="nothing to learn from"):
        OtherText(str(tmp_path / "empty")).teach(language(), data, data.tokenizer)
    with pytest.raises(DataError, match="of the kind farces"):
        KindOfPlay("farces").teach(ClassifierJudge(V), Shakespeare(), data.tokenizer)
    long = model(end="the cat and")
    with pytest.raises(ValueError, match="must be one token"):
        quiet_trainer(limit_train_batches=1).fit(long, data)
