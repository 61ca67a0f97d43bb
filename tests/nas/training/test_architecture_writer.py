import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor, nn

from discrete_lightning.callbacks import ArchitectureWriter, SearchMonitor
from discrete_lightning.models import DARTS, GDAS, ArchitectureTraining, SearchOptimizers
from discrete_lightning.nas.training.cell_picture import graphviz
from discrete_lightning.nn import Edge, OneOf
from tests.nas.training.searching import SaveAt
from tests.tiny_images import SPACE, TinyImages, quiet_trainer, tiny_search, tiny_split


def test_files_of_a_search(tmp_path: Path) -> None:
    search = tiny_search(GDAS())
    trainer = quiet_trainer(max_epochs=2, callbacks=[ArchitectureWriter()], default_root_dir=tmp_path)
    trainer.fit(search, tiny_split())
    record = json.loads((tmp_path / "architecture.json").read_text())
    assert SPACE.read(record) == search.architecture()
    with (tmp_path / "choice_probabilities.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * SPACE.choices * len(SPACE.options)
    last = [float(row["probability"]) for row in rows if row["epoch"] == "1" and row["row"] == "2"]
    torch.testing.assert_close(
        torch.tensor(last), torch.softmax(search.choice.logits[2].detach(), -1), rtol=0, atol=1e-5
    )
    config = yaml.safe_load((tmp_path / "retrain.yaml").read_text())
    assert config["model"]["init_args"]["architecture"] == search.architecture()
    assert "digraph" in (tmp_path / "architecture.dot").read_text()
    for name in ("architecture.png", "choice_probabilities.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 100
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    quiet_trainer(callbacks=[ArchitectureWriter()], default_root_dir=tmp_path).fit(tiny_search(GDAS()), tiny_split())
    assert all(path.read_bytes() == content for path, content in before.items())  # a second run overwrites nothing
    assert (tmp_path / "architecture-2.json").exists()


def test_history_of_a_resumed_search_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "mid.ckpt"
    first = quiet_trainer(
        max_epochs=3, callbacks=[ArchitectureWriter(), SaveAt(path, 1, 2)], default_root_dir=tmp_path / "a"
    )
    first.fit(tiny_search(GDAS()), tiny_split())
    resumed = quiet_trainer(max_epochs=3, callbacks=[ArchitectureWriter()], default_root_dir=tmp_path / "b")
    resumed.fit(tiny_search(GDAS()), tiny_split(), ckpt_path=path, weights_only=True)
    files = [(tmp_path / run / "choice_probabilities.csv").read_text() for run in "ab"]
    assert files[0] == files[1]


class Own(LightningModule):
    """A user's own module with one choice somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), OneOf([nn.Tanh(), nn.ReLU()]), nn.Linear(8, 10))

    # Names that the callbacks do not use.
    skip_share = 0.25

    def next_config(self, key: str) -> str:
        raise AssertionError

    def disconnected(self) -> bool:
        raise AssertionError

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.body(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def test_works_on_any_module_that_chooses(tmp_path: Path) -> None:
    module = Own()
    trainer = quiet_trainer(callbacks=[ArchitectureWriter()], default_root_dir=tmp_path)
    trainer.fit(module, TinyImages(batch_size=8).train_dataloader())
    record = json.loads((tmp_path / "architecture.json").read_text())
    assert record == {"choices": {"body.2.choice": module.body[2].choice.decided()}}  # type: ignore[union-attr]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "architecture.json", "choice_probabilities.csv", "choice_probabilities.png",
    ]  # fmt: skip


def test_monitor_logs_and_warns_of_any_module() -> None:
    class Skips(Own):
        def __init__(self) -> None:
            super().__init__()
            self.body[2] = OneOf([nn.Identity(), nn.Tanh()])
            with torch.no_grad():
                self.body[2].choice.logits[0, 0] = 5.0

    trainer = quiet_trainer(callbacks=[SearchMonitor(patience=0.0)])
    with pytest.warns(UserWarning, match="100% of the decided operations are skip"):
        trainer.fit(Skips(), TinyImages(batch_size=8).train_dataloader())
    assert float(trainer.callback_metrics["search/skip_share"]) == 1.0
    assert 0 < float(trainer.callback_metrics["search/choice_entropy"]) < 0.5


@pytest.mark.parametrize("decided", [(0, 0, 0), (0, 0, 3)])  # all none; an edge that hangs on a dead node
def test_warning_of_a_network_that_computes_nothing(decided: tuple[int, ...]) -> None:
    search = tiny_search(DARTS(), optimizers=SearchOptimizers(architecture_learning_rate=1e-6))
    with torch.no_grad():
        search.choice.logits[range(3), decided] = 0.1
    trainer = quiet_trainer(callbacks=[SearchMonitor(entropy=1.0, gap=1.0)])
    with pytest.warns(UserWarning, match="no operation connects the input to the output"):
        trainer.fit(search, tiny_split())


def test_interrupted_search_leaves_what_it_found(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            if trainer.current_epoch == 1:
                raise ZeroDivisionError

    search = tiny_search(GDAS())
    trainer = quiet_trainer(max_epochs=2, callbacks=[Stop(), ArchitectureWriter()], default_root_dir=tmp_path)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(search, tiny_split())
    assert SPACE.read(json.loads((tmp_path / "architecture.json").read_text())) == search.architecture()
    assert (tmp_path / "choice_probabilities.csv").exists()
    assert not (tmp_path / "retrain.yaml").exists()


def test_needs_a_choice(tmp_path: Path) -> None:
    model = ArchitectureTraining(SPACE, ["skip"] * 3)
    with pytest.raises(ValueError, match="finds no choice in ArchitectureTraining"):
        quiet_trainer(callbacks=[ArchitectureWriter()], default_root_dir=tmp_path).fit(model, TinyImages(batch_size=8))


def test_graphviz_source() -> None:
    text = graphviz([Edge("input", "output", "conv3x3", "cell"), Edge("input", "output", "skip", "other")])
    assert text.count("->") == 2
    assert '[label="conv3x3"]' in text
    assert text.count("subgraph") == 2


@pytest.mark.parametrize(
    ("setting", "words"),
    [({"skip_share": 0.5}, "100% of the decided operations are skip"), ({"entropy": 0.9}, "still undecided")],
)
def test_warnings(setting: dict[str, float], words: str) -> None:
    search = tiny_search(DARTS(), optimizers=SearchOptimizers(architecture_learning_rate=1e-6))
    with torch.no_grad():
        search.choice.logits[:, 1] = 0.1  # all skip, hardly decided
    quiet = {"skip_share": 1.0, "entropy": 1.0, "gap": 1.0}
    trainer = quiet_trainer(callbacks=[SearchMonitor(**(quiet | setting))])
    with pytest.warns(UserWarning, match=words):
        trainer.fit(search, tiny_split())


def test_warning_of_a_gap() -> None:
    monitor = SearchMonitor(gap=0.1, entropy=1.0, skip_share=1.0)
    trainer = quiet_trainer()
    trainer.fit(tiny_search(GDAS()), tiny_split())
    trainer.callback_metrics["val/relaxation_gap"] = torch.tensor(0.25)
    with pytest.warns(UserWarning, match="validation error is higher by 25.0%"):
        monitor.on_train_epoch_end(trainer, trainer.lightning_module)


def test_limits_are_shares() -> None:
    with pytest.raises(ValueError, match="share in"):
        SearchMonitor(gap=2.0)
