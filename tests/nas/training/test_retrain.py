import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from discrete_lightning.callbacks import LearningRateAnnealing
from discrete_lightning.models import ArchitectureTraining
from discrete_lightning.nn import ArchitectureChoice, DARTSSpace, InvertedResidualSpace, LayerChain, OneOf
from discrete_lightning.schedules import Constant
from tests.tiny_images import SPACE, TinyImages, quiet_trainer

CELL = ["conv3x3", "skip", "conv1x1"]


def fitted(**arguments: Any) -> tuple[ArchitectureTraining, dict[str, float]]:
    torch.manual_seed(0)
    model = ArchitectureTraining(SPACE, CELL, **arguments)
    torch.manual_seed(1)  # the order of the images, whatever was built before
    trainer = quiet_trainer(max_epochs=2)
    data = TinyImages(batch_size=8)
    trainer.fit(model, data)
    return model, trainer.test(model, data, verbose=False)[0]


def test_plain_network_and_both_accuracies() -> None:
    model, result = fitted(random_architectures=3)
    assert not [each for each in model.modules() if isinstance(each, OneOf | ArchitectureChoice)]
    assert set(result) == {
        "test/accuracy", "test/accuracy_of_random_search", "test/accuracy_of_random_mean", "test/random_architectures",
    }  # fmt: skip
    assert result["test/random_architectures"] == 3
    assert len(model.random_networks) == 3


def test_random_search_reports_the_one_best_in_validation() -> None:
    model, result = fitted(random_architectures=3)
    data = TinyImages(batch_size=24)
    images, labels = next(iter(data.test_dataloader()))
    model.eval()
    best = model.random_networks[int(model.validation.argmax())]
    accuracy = float((best(images).argmax(1) == labels).float().mean())
    assert result["test/accuracy_of_random_search"] == pytest.approx(accuracy, abs=1e-6)


def test_the_found_network_learns_as_if_alone() -> None:
    alone, _ = fitted()
    torch.manual_seed(0)
    beside, _ = fitted(random_architectures=2)
    for one, other in zip(alone.network.parameters(), beside.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def write(folder: Path, **content: Any) -> str:
    path = folder / "architecture.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_reads_architecture_json_in_another_size(tmp_path: Path) -> None:
    file = write(tmp_path, space=SPACE.describe(), architecture=CELL)
    larger = SPACE.changed(channels=4, cells=2)
    assert ArchitectureTraining(larger, file).architecture == CELL


def test_refuses_a_second_schedule_of_its_learning_rate() -> None:
    rate = LearningRateAnnealing(Constant(0.1))
    with pytest.raises(ValueError, match=r"LearningRateAnnealing sets it by Constant.*set model\.learning_rate"):
        quiet_trainer(callbacks=[rate]).fit(ArchitectureTraining(SPACE, CELL), TinyImages(batch_size=8))


def test_reads_what_was_written_when_the_space_had_its_former_name(tmp_path: Path) -> None:
    space = InvertedResidualSpace(channels=(2,), strides=(2,), layers=2, kernels=(3,), expansions=(1,))
    former = {**space.describe(), "class_path": "LayerChain"}
    file = write(tmp_path, space=former, architecture=["skip", "k3_e1"])
    old = LayerChain(**former["init_args"])
    assert ArchitectureTraining(space, file).architecture == ArchitectureTraining(old, file).architecture
    assert old.describe() == space.describe()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"space": DARTSSpace().describe(), "architecture": ["none"] * 28},
            "another space: class is 'DARTSSpace' in the file",
        ),
        (
            {"space": SPACE.changed(nodes=4).describe(), "architecture": ["skip"] * 6},
            "nodes is 4 in the file and 3 in",
        ),
        ({"space": SPACE.describe(), "architecture": ["skip"] * 2}, "is 3 of none, skip"),
        ({"space": SPACE.describe(), "architecture": ["skip", "conv9x9", "skip"]}, "conv9x9 unknown"),
        ({"choices": {}}, "no architecture: expected the entries space and architecture, found choices"),
    ],
)
def test_architecture_of_another_space(content: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        ArchitectureTraining(SPACE, write(tmp_path, **content))


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        ArchitectureTraining(SPACE, str(tmp_path / "nowhere.json"))
    path = tmp_path / "broken.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"is not an architecture\.json"):
        ArchitectureTraining(SPACE, str(path))
    path.write_text("[]")
    with pytest.raises(ValueError, match="holds list"):
        ArchitectureTraining(SPACE, str(path))


def test_negative_count() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        ArchitectureTraining(SPACE, CELL, random_architectures=-1)


def test_weights_are_deployable() -> None:
    model, _ = fitted()
    network: nn.Module = model.network
    copy = SPACE.build(CELL, 1, 10)
    copy.load_state_dict(network.state_dict())
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(copy.eval()(images), network.eval()(images))
