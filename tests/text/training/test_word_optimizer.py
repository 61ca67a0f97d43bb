"""WordOptimizer and LineWriter: lines found and written, templates, resuming, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything

from discrete_lightning.callbacks import LineWriter, TextWriter
from discrete_lightning.data import TextFiles
from discrete_lightning.data.tokenizers import WordTokenizer
from discrete_lightning.models import LanguageModel, WordOptimizer
from discrete_lightning.nn import GRUNetwork, TransformerNetwork
from discrete_lightning.text.training.line_writer import mean_history
from discrete_lightning.text.training.word_optimizer import LineFound
from discrete_lightning.text.word_search import CoordinateSearch, PathSearch
from discrete_lightning.text.word_search.template import read_template, words_only
from tests.tiny_images import quiet_trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore:Found .* in eval mode", "ignore:You passed in a `val_dataloader`", "ignore:You defined a `test_step`"
)
V = 300
TEXT = "".join(f"The cat and the dog {'and the cow ' * (i % 3)}go\n" for i in range(200))
LINES = ["The ___ and the ___", "___*3 the cow"]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the language model is written


@pytest.fixture
def data(tmp_path: Path) -> TextFiles:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(TEXT)
    return TextFiles(f"{tmp_path}/*.txt", context=8, batch_size=4, vocabulary=V)


def optimizer(lines: list[str] = LINES, **arguments: Any) -> WordOptimizer:
    seed_everything(0, verbose=False)
    given = {"network": GRUNetwork(V, dim=8, hidden_dim=16), "evaluations": 60} | arguments
    return WordOptimizer(lines, **given)


def fitted(data: TextFiles, folder: Path, model: WordOptimizer, **arguments: Any) -> Any:
    trainer = quiet_trainer(max_epochs=-1, default_root_dir=folder, callbacks=[LineWriter()], **arguments)
    trainer.fit(model, data)
    return trainer


def test_lines_are_found_and_written(data: TextFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = optimizer(compare=[CoordinateSearch(), PathSearch(steps=3, samples=2, draws=5)])
    trainer = fitted(data, tmp_path, model)
    assert [each.template for each in model.found] == [line for line in LINES for _ in range(3)]
    assert list(model.methods) == ["IteratedLocalSearch", "CoordinateSearch", "PathSearch(GumbelSoftmax)"]
    for each in model.found:
        assert 57 < each.evaluations <= 60
        first, second = each.template.split("___")[0], each.template.rsplit("___", 1)[1].removeprefix("*3")
        assert each.text.startswith(first)
        assert each.text.endswith(second)
        # the nll is that of the text
        assert model.tokenizer is not None
        prompt = model.tokenizer.encode("\n")
        tokens = torch.tensor(prompt + model.tokenizer.encode(each.text))
        log_p = model.network.eval()(tokens[None, :-1])[0].log_softmax(-1)
        nll = -log_p.gather(-1, tokens[1:, None]).sum().item()
        assert each.nll == pytest.approx(nll, abs=1e-3)
    text = (tmp_path / "lines.txt").read_text()
    assert text.strip() in capsys.readouterr().out
    assert all(f"{each.nll:.2f} nats" in text and each.text in text for each in model.found)
    assert "mean of 2 lines" in text
    assert (tmp_path / "search.png").stat().st_size
    (figures,) = trainer.test(model, data, verbose=False)
    own = [each.nll for each in model.found if each.method == "IteratedLocalSearch"]
    assert figures["test/nll"] == pytest.approx(sum(own) / 2, rel=1e-5)
    assert "test/nll_CoordinateSearch" in figures


def test_the_language_model_is_not_trained(data: TextFiles, tmp_path: Path) -> None:
    model = optimizer()
    fitted(data, tmp_path, model)
    for own, started in zip(model.network.parameters(), model.reference.parameters(), strict=True):
        assert torch.equal(own, started)
        assert not own.requires_grad


def test_resumed_after_one_line_finds_the_same(data: TextFiles, tmp_path: Path) -> None:
    whole = optimizer()
    fitted(data, tmp_path / "whole", whole)
    first = optimizer()
    trainer = fitted(data, tmp_path / "first", first, max_steps=1)
    assert len(first.found) == 1
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    second = optimizer(network=GRUNetwork(V, dim=8, hidden_dim=16))
    quiet_trainer(max_epochs=-1, default_root_dir=tmp_path / "second").fit(
        second, data, ckpt_path=tmp_path / "first.ckpt", weights_only=True
    )
    assert second.found == whole.found
    assert WordOptimizer.load_from_checkpoint(tmp_path / "first.ckpt").found == first.found


def test_other_seeds_find_in_other_ways(data: TextFiles, tmp_path: Path) -> None:
    models = [optimizer(seed=seed) for seed in (0, 0, 1)]
    for i, model in enumerate(models):
        fitted(data, tmp_path / str(i), model)
    histories = [[each.history for each in model.found] for model in models]
    assert histories[0] == histories[1] != histories[2]


def test_a_base_needs_no_data(data: TextFiles, tmp_path: Path) -> None:
    language = LanguageModel(GRUNetwork(V, dim=8, hidden_dim=16))
    trainer = quiet_trainer(max_steps=2, default_root_dir=tmp_path)
    trainer.fit(language, data)
    trainer.save_checkpoint(tmp_path / "base.ckpt")
    model = WordOptimizer(LINES, base=str(tmp_path / "base.ckpt"), evaluations=30)
    quiet_trainer(max_epochs=-1, default_root_dir=tmp_path).fit(model)
    assert len(model.found) == 2


@pytest.mark.parametrize(
    ("lines", "arguments", "message"),
    [
        (["the cat"], {}, "line 'the cat' has no blank"),
        (["___*0 cat"], {}, "are no words"),
        (["the ___ \N{SNOWMAN}"], {}, "has never seen '\N{SNOWMAN}'"),
        (["___*8"], {"network": TransformerNetwork(V, context=8, dim=8, heads=2, layers=1)}, "'___\\*8': .* context=8"),
    ],
)
def test_lines_that_do_not_fit(data: TextFiles, lines: list[str], arguments: Any, message: str) -> None:
    model = optimizer(lines, base_epochs=0.01, **arguments)
    with pytest.raises(ValueError, match=message):
        quiet_trainer(max_epochs=-1).fit(model, data)


def test_arguments_out_of_range() -> None:
    for arguments, message in (
        ({"lines": []}, "list of one line or more"),
        ({"lines": "___"}, "list of one line or more"),
        ({"prompt": ""}, "prompt is a text"),
        ({"evaluations": 0}, "evaluations must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer(**arguments)  # type: ignore[arg-type]


def test_the_writer_needs_its_model(data: TextFiles) -> None:
    model = LanguageModel(GRUNetwork(V, dim=8, hidden_dim=16))
    with pytest.raises(ValueError, match="the model is LanguageModel"):
        quiet_trainer(max_steps=1, callbacks=[LineWriter()]).fit(model, data)
    assert TextWriter is not LineWriter


def test_templates() -> None:
    tokenizer = WordTokenizer([" the", "The", " cat", "cat", "'s", " ,"])
    read = read_template("The ___'s___*2, ___", tokenizer)
    blank, the, s = 0, 257, 260
    assert read.tokens.tolist() == [the, blank, s, blank, blank, 44, blank]
    assert read.free.int().tolist() == [0, 1, 0, 1, 1, 0, 1]
    allowed = words_only(read_template("___ ___", tokenizer), tokenizer, 270)
    assert allowed.nonzero().tolist() == [[0, 65], [0, 73], [0, 79], [0, 257], [1, 256], [1, 258]]
    inside = words_only(read_template("___ ___", tokenizer), tokenizer, 270, start=False)
    assert torch.equal(inside[0], inside[1])


def test_the_mean_history_begins_where_all_lines_have_one() -> None:
    found = [
        LineFound("a", "m", "a", 1.0, 10, [(2, 5.0), (6, 1.0)]),
        LineFound("b", "m", "b", 2.0, 10, [(3, 4.0), (4, 2.0)]),
    ]
    assert mean_history(found, "m") == ([3, 4, 6, 10], [4.5, 3.5, 1.5, 1.5])
