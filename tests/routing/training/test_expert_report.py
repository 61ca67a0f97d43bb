"""ExpertReport: which tokens and words each expert takes, the page in colours; the picture of the load over time."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything

from discrete_lightning.callbacks import ExpertReport, RouterMonitor
from discrete_lightning.models import DenseFeedForward, MixtureFeedForward, RoutedLanguageModel
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.training.expert_page import page, table
from discrete_lightning.routing.training.routed_text import RoutedText, routed_text
from tests.tiny_images import quiet_trainer
from tests.tiny_tokens import TinyText

ROWS = [list("the cat"), list("an owl")]


def by_letter(rows: list[list[str]], experts: dict[str, int], count: int = 2) -> RoutedText:
    """A text of which each letter goes to one expert; those not named to the last."""
    first = torch.tensor([experts.get(piece, count - 1) for row in rows for piece in row])
    return RoutedText(rows, torch.nn.functional.one_hot(first, count).bool(), first)


def trained(folder: Path, *callbacks: Callback, data: Any = None, **arguments: Any) -> Trainer:
    seed_everything(0, verbose=False)
    small: dict[str, Any] = {"vocabulary": 10, "context": 8, "dim": 8, "heads": 2, "layers": 2}
    model = RoutedLanguageModel(**(small | {"feed_forward": MixtureFeedForward(count=4, k=2, hidden=6)} | arguments))
    trainer = quiet_trainer(max_epochs=3, callbacks=list(callbacks), default_root_dir=folder)
    trainer.fit(model, TinyText() if data is None else data)
    return trainer


def test_words_around_tokens() -> None:
    text = by_letter(ROWS, {"t": 0, " ": 0})
    assert dict(text.words_of(0)) == {"[t]he": 0.25, "e[␣]c": 0.25, "ca[t]": 0.25, "n[␣]o": 0.25}
    assert dict(text.tokens_of(0)) == {"t": 0.5, "␣": 0.5}
    assert "c[a]t" in dict(text.words_of(1, most=20))
    assert text.share().tolist() == pytest.approx([4 / 13, 9 / 13])


def test_words_of_longer_tokens() -> None:
    rows = [["the", " ca", "ts", " run", "!"]]
    text = RoutedText(rows, torch.eye(5, dtype=torch.bool), torch.arange(5))
    assert [text.words_of(i)[0][0] for i in range(5)] == ["[the]", "[␣ca]ts", "ca[ts]", "[␣run]", "run[!]"]


def test_tokens_are_those_an_expert_takes_more_often_than_others() -> None:
    rows = [list("aaaab"), list("aaaac")]
    chosen = torch.zeros(10, 2, dtype=torch.bool)
    chosen[:5, 0] = chosen[5:, 1] = True
    text = RoutedText(rows, chosen, chosen.long().argmax(1))
    assert text.tokens_of(0, most=1) == [("b", 0.2)]
    assert text.tokens_of(1, most=1) == [("c", 0.2)]


def test_an_expert_without_a_token() -> None:
    text = by_letter(ROWS, {}, count=3)
    assert text.tokens_of(0) == text.words_of(1) == []
    assert re.search(r"^0 +0\.0%$", table({"router": text}), re.MULTILINE)
    assert "0: nothing" in page({"router": text}, 20)


def test_what_a_router_returned() -> None:
    """All k experts take a token; where their number varies, those that are taken; the first has the largest gate."""
    indices = torch.tensor([[[0, 2], [1, 0]]])
    gates, logits = torch.tensor([[[0.4, 0.6], [0.9, 0.1]]]), torch.zeros(1, 2, 3)
    routed = Routed(indices, gates, logits, logits, torch.zeros(()))
    text = routed_text([["x", "y"]], routed)
    assert text.first.tolist() == [2, 1]
    assert text.chosen.tolist() == [[True, False, True], [True, True, False]]
    some = routed_text([["x", "y"]], routed._replace(taken=torch.tensor([[[True, False], [True, True]]])))
    assert some.first.tolist() == [0, 1]
    assert some.chosen.tolist() == [[True, False, False], [True, True, False]]
    with pytest.raises(ValueError, match="a router saw 2 tokens, and the text has 3"):
        routed_text([["x", "y", "z"]], routed)


def test_the_page_holds_the_text_and_escapes_it() -> None:
    text = by_letter([list("a<b &\nc")], {"a": 0})
    found = page({"blocks.0": text}, 7)
    shown = re.sub(r"<[^>]*>", "", found.partition("<pre>")[2].partition("</pre>")[0])
    assert shown.strip() == "a&lt;b &amp;↵\nc"
    assert found.count('title="0"') == 1
    assert page({"blocks.0": text}, 2).count("title=") == 2


@pytest.mark.filterwarnings("ignore:.* has collapsed")
def test_files_of_a_run(tmp_path: Path) -> None:
    trained(tmp_path, ExpertReport(), RouterMonitor())
    lines = (tmp_path / "experts.txt").read_text().splitlines()
    names = [line for line in lines if line.startswith("model.blocks")]
    assert names == [f"model.blocks.{i}.feed_forward.layer.router: 192 tokens" for i in range(2)]
    assert [line.split()[0] for line in lines if line[:1].isdigit()] == ["0", "1", "2", "3"] * 2
    assert (tmp_path / "experts.html").read_text().count("<h2>") == 2
    assert (tmp_path / "load.png").stat().st_size > 1000
    assert (tmp_path / "experts.png").stat().st_size > 1000


@pytest.mark.filterwarnings("ignore:.* has collapsed")
def test_the_load_of_every_epoch_is_kept(tmp_path: Path) -> None:
    monitor = RouterMonitor(filename=None, history=None)
    trained(tmp_path, monitor)
    assert {len(loads) for loads in monitor._loads.values()} == {3}
    assert all(each.sum().item() == pytest.approx(1.0) for loads in monitor._loads.values() for each in loads)
    assert not list(tmp_path.glob("*.png"))


def test_files_that_are_not_wanted(tmp_path: Path) -> None:
    trained(tmp_path, ExpertReport(table=None, page=None))
    assert not list(tmp_path.glob("experts*"))


class Mute(TinyText):
    decode_tokens: Any = None


def test_nothing_to_report() -> None:
    with pytest.raises(ValueError, match="finds no router in RoutedLanguageModel"):
        trained(Path(), ExpertReport(), feed_forward=DenseFeedForward(4), compare=False)
    with pytest.raises(TypeError, match="needs a method decode_tokens"):
        trained(Path(), ExpertReport(), data=Mute())
    with pytest.raises(ValueError, match="tokens must be at least 1"):
        ExpertReport(tokens=0)
