"""The state of a language model goes on from window to window; its cross-entropy is that of the whole text."""

import copy
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.nn.functional import cross_entropy

from discrete_lightning.data import TextFiles
from discrete_lightning.data.streams import TextStreams
from discrete_lightning.data.tokenizers import WordTokenizer
from discrete_lightning.text.networks import GRUNetwork
from discrete_lightning.text.training.base_network import read_network, train_network, write_network
from discrete_lightning.text.training.language_model import LanguageModel
from tests.references.inputs import seeded
from tests.text.networks_for_tests import KINDS, VOCABULARY, network

TEXT = "the cat and the dog, and the cow.\n" * 40


def windows(context: int, count: int = 65) -> list[tuple[Tensor, Tensor]]:
    data = TextStreams(torch.randint(VOCABULARY, (count,), generator=seeded(1)), context, rows=2)
    return [data.__getitems__([i, i + 1]) for i in range(0, len(data), 2)]


def nats_of(model: LanguageModel, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    found = []
    for i, (inputs, targets) in enumerate(batches):
        model._restart(i, inputs)
        found.append(model._nats(inputs, targets))
    return torch.stack(found).sum()


@pytest.mark.parametrize("kind", ["gru", "gru of two layers"])
def test_two_windows_with_the_state_are_one_of_double_length(kind: str) -> None:
    model = LanguageModel(network(kind))
    expected = nats_of(model, windows(32))
    torch.testing.assert_close(nats_of(model, windows(16)), expected)
    torch.testing.assert_close(nats_of(model, windows(5)), expected)
    assert not torch.allclose(nats_of(LanguageModel(network(kind), carry=False), windows(16)), expected, rtol=1e-4)


def test_a_transformer_sees_its_window_alone() -> None:
    model = LanguageModel(network("transformer"))
    each = [cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum") for x, y in windows(16)]
    torch.testing.assert_close(nats_of(model, windows(16)), torch.stack(each).sum())


def test_the_state_is_forgotten_at_the_start_and_where_rows_change() -> None:
    model = LanguageModel(network("gru"))
    (x, y), *_ = windows(16)
    fresh = model._nats(x, y)
    model._restart(0, x)
    torch.testing.assert_close(model._nats(x, y), fresh)
    model._restart(1, x[:1])
    assert model._carried is None


def fitted(folder: Path, **options: object) -> tuple[LanguageModel, TextFiles, Trainer]:
    for name in "abc":
        (folder / f"{name}.txt").write_text(TEXT)
    torch.manual_seed(0)
    data = TextFiles(f"{folder}/*.txt", context=8, batch_size=2, vocabulary=300)
    model = LanguageModel(GRUNetwork(300, dim=8, hidden_dim=16))
    arguments = {"max_steps": 12, "accelerator": "cpu", "logger": False, "enable_checkpointing": False, **options}
    trainer = Trainer(enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **arguments)
    trainer.fit(model, data)
    return model, data, trainer


def test_validation_in_between_changes_nothing_of_training(tmp_path: Path) -> None:
    plain, _, _ = fitted(tmp_path, limit_val_batches=0)
    checked, _, _ = fitted(tmp_path, val_check_interval=3)
    for a, b in zip(plain.parameters(), checked.parameters(), strict=True):
        assert torch.equal(a, b)


def test_nats_per_character_are_those_of_the_whole_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data, trainer = fitted(tmp_path)
    (found,) = trainer.test(model, data, verbose=False)
    tokens = data.tokens("test").long()
    rows = TextStreams(tokens, len(tokens), rows=2)  # each row as one window
    inputs, targets = rows.__getitems__([0, 1])
    with torch.no_grad():
        nats = cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
    characters = len(data.text("test")) - len(data.tokenizer.decode(tokens[:1].tolist()))  # the first is no target
    assert found["test/nats_per_character"] == pytest.approx(float(nats) / characters, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_are_written_and_read(kind: str, tmp_path: Path) -> None:
    net, tokenizer = network(kind), WordTokenizer([" the"], "abc")
    write_network(tmp_path / "base.ckpt", net, tokenizer)
    found, same = read_network(str(tmp_path / "base.ckpt"))
    assert same == tokenizer
    assert same.unknown("az") == ["z"]
    tokens = torch.randint(VOCABULARY, (2, 5), generator=seeded(3))
    assert torch.equal(found.eval()(tokens), net(tokens))


def test_training_a_network_lowers_its_cross_entropy(capsys: pytest.CaptureFixture[str]) -> None:
    net = network("gru")
    before = copy.deepcopy(net)
    tokens = (torch.arange(4000) * 3) % VOCABULARY
    train_network(net, tokens, epochs=2, context=8, rows=8)
    x, y = tokens[None, :-1], tokens[None, 1:]
    first, second = (cross_entropy(each(x).flatten(0, 1), y.flatten()) for each in (before, net))
    assert second < 0.5 * first
    assert capsys.readouterr().out.count("nats a token") == 4


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 3)), "integers"),
        ((torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)), r"\(B, S\)"),
        ((torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 4, dtype=torch.int64)), r"\(2, 4\)"),
        (
            (torch.full((2, 3), 11), torch.zeros(2, 3, dtype=torch.int64)),
            "tokens are 0 to 10.*11 to 11: set vocabulary",
        ),
        ((torch.full((2, 3), -1), torch.zeros(2, 3, dtype=torch.int64)), "-1 to 0"),
        (
            (torch.zeros(2, 40, dtype=torch.int64), torch.zeros(2, 40, dtype=torch.int64)),
            "context=32 tokens.*serves 40",
        ),
    ],
)
def test_batches_that_do_not_fit(batch: tuple[Tensor, Tensor], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LanguageModel(network("transformer")).token_batch(batch)


def test_tokenizers_that_do_not_fit() -> None:
    model = LanguageModel(GRUNetwork(300, dim=8, hidden_dim=8))
    with pytest.raises(ValueError, match="301 tokens and the network 300"):
        model.use_tokenizer(WordTokenizer([f"w{i}" for i in range(45)]))
    model.use_tokenizer(WordTokenizer(["the"]))
    model.use_tokenizer(WordTokenizer(["the"]))
    with pytest.raises(ValueError, match="another one of 258"):
        model.use_tokenizer(WordTokenizer(["the", "and"]))
    other = LanguageModel(GRUNetwork(300, dim=8, hidden_dim=8))
    other.use_tokenizer(WordTokenizer(["cat"]))
    with pytest.raises(ValueError, match="checkpoint has learnt with a tokenizer of 257"):
        other.on_load_checkpoint({"tokenizer": WordTokenizer(["the"]).state()})
