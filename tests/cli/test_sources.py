from pathlib import Path

import pytest

from discrete_lightning import catalog
from discrete_lightning.cli.configs import find_source
from discrete_lightning.cli.entry import read_command
from discrete_lightning.cli.errors import CliError


def _run(folder: str) -> Path:
    (Path(folder) / "checkpoints").mkdir(parents=True)
    (Path(folder) / "config.yaml").write_text("seed_everything: 1\n")
    return Path(folder)


def test_a_name_a_file_and_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs/vq").mkdir(parents=True)
    (tmp_path / "configs/vq/quickstart.yaml").write_text("seed_everything: 1\n")
    monkeypatch.setattr(catalog, "config_root", lambda: tmp_path / "configs")
    named = find_source("vq/quickstart")
    assert (named.name, named.run, named.path) == ("vq-quickstart", None, tmp_path / "configs/vq/quickstart.yaml")
    assert find_source("vq/quickstart.yaml") == named
    file = find_source("toy.yaml")
    assert (file.name, file.run, file.path) == ("toy", None, tmp_path / "toy.yaml")
    run = _run("runs/vq-quickstart/20260102-030405-2")
    assert find_source(str(run)).name == "vq-quickstart"
    assert find_source(str(run)).run == run
    assert find_source(str(run / "config.yaml")) == find_source(str(run))
    assert find_source(str(_run("elsewhere/mine"))).name == "mine"


def test_a_folder_that_is_no_run() -> None:
    Path("runs").mkdir()
    with pytest.raises(CliError, match=r"runs is no run folder: it has no config\.yaml"):
        find_source("runs")


def test_own_options_are_taken_out_wherever_they_stand() -> None:
    request = read_command(
        ["fit", "--model.width=4", "--trust=a.", "-c", "toy.yaml", "--trust", "b.c", "--traceback", "--run_root", "x"]
    )
    assert request.args == ["--model.width=4"]
    assert request.trust == ["a", "b.c"]
    assert request.traceback
    assert request.run_root == Path("x")
    assert [source.name for source in request.sources] == ["toy"]


def test_the_last_run_folder_is_the_run() -> None:
    first, second = _run("runs/a/20260102-030405"), _run("runs/b/20260102-030405")
    assert read_command(["fit", "-c", str(first), "-c", str(second), "-c", "toy.yaml"]).run == second
