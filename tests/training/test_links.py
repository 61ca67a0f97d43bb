"""Files of a run are written in place of links, not through them."""

from pathlib import Path

import pytest
import yaml

from discrete_lightning.training.atomic_write import WriteError, write_text
from discrete_lightning.training.metrics_file import MetricsFile
from discrete_lightning.training.run_files import fresh_path


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir()
    return victim


def test_a_whole_file_takes_the_place_of_a_link(tmp_path: Path, victim: Path) -> None:
    link = tmp_path / "run/a.txt"
    link.symlink_to(victim)
    write_text(link, "new")
    assert victim.read_text() == "precious"
    assert (link.read_text(), link.is_symlink()) == ("new", False)


def test_names_avoid_links_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to("nowhere")
    assert fresh_path(tmp_path, "a.txt").name == "a-2.txt"
    for name in ("../a.txt", "/a.txt", "b/../../a.txt", "..\\a.txt", "a\0b"):
        with pytest.raises(ValueError, match="leads out of the run's folder"):
            fresh_path(tmp_path, name)


def test_metrics_and_hyper_parameters(tmp_path: Path, victim: Path) -> None:
    folder = tmp_path / "run"
    for name in ("metrics.csv", "hparams.yaml"):
        (folder / name).symlink_to(victim)
    logger = MetricsFile(folder)
    logger.log_hyperparams({"a": 1})
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.save()
    logger.log_metrics({"loss": 2.0}, step=2)
    logger.save()
    assert victim.read_text() == "precious"
    assert (folder / "metrics.csv").read_text().splitlines() == ["loss,step", "1.0,1", "2.0,2"]
    assert yaml.safe_load((folder / "hparams.yaml").read_text()) == {"a": 1}


def test_a_link_that_comes_later_is_not_followed(tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    logger = MetricsFile(folder)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.save()
    (folder / "metrics.csv").unlink()
    (folder / "metrics.csv").symlink_to(victim)
    monkeypatch.setattr(Path, "is_symlink", lambda path: False)  # looked at before the link was made
    logger.log_metrics({"loss": 2.0}, step=2)
    with pytest.raises(WriteError, match=r"metrics\.csv could not be written"):
        logger.save()
    assert victim.read_text() == "precious"
