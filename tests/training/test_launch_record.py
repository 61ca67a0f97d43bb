"""A command that a launcher starts again finds the folder of its run."""

import json
import os
from pathlib import Path

import pytest

from discrete_lightning.training.launch_record import LAUNCH, Launch, launch_of
from discrete_lightning.training.run_folder import claim_folder, discard_folder


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("DISCRETE_LIGHTNING_RUN_DIR", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID")
    for name in [*names, "TORCHELASTIC_RESTART_COUNT", "RANK", "LOCAL_RANK", "SLURM_PROCID"]:
        monkeypatch.delenv(name, raising=False)


def claim(config: str = "a: 1", exact: Path | None = None, resumes: bool = True) -> Path:
    return claim_folder(Path("runs/toy"), exact=exact, config=config, resumes=resumes)


@pytest.mark.parametrize("launcher", ["torchrun", "torchrun without id", "slurm"])
def test_a_further_attempt_finds_its_folder(launcher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "SLURM_JOB_ID" if launcher == "slurm" else "TORCHELASTIC_RUN_ID"
    count = "SLURM_RESTART_COUNT" if launcher == "slurm" else "TORCHELASTIC_RESTART_COUNT"
    monkeypatch.setenv(name, "none" if "without" in launcher else "12")
    first, other_config = claim(), claim("a: 2")
    (first / "metrics.csv").touch()
    assert (first / LAUNCH).exists()
    assert claim("a: 4") != claim("a: 4")  # both of the first attempt
    monkeypatch.setenv(count, "1")
    assert claim() == first
    assert claim("a: 2") == other_config
    assert claim("a: 3") not in (first, other_config)
    monkeypatch.setenv("RANK", "1")
    assert claim() == first  # ranks find it each for itself
    monkeypatch.delenv("RANK")
    if "without" not in launcher:
        monkeypatch.setenv(name, "13")
        assert claim() != first


def test_a_folder_that_was_named_is_taken_again_by_its_launch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    folder = claim(exact=Path("run"))
    with pytest.raises(FileExistsError):
        claim(exact=Path("run"))  # the first attempt of another run of this job
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert claim(exact=Path("run")) == folder
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    with pytest.raises(FileExistsError):
        claim(exact=Path("run"))
    (folder / LAUNCH).write_text("[")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    with pytest.raises(FileExistsError):
        claim(exact=Path("run"))


def test_the_record_alone_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    folder = claim()
    assert json.loads((folder / LAUNCH).read_text())["slurm"] == "12"
    discard_folder(folder)
    assert not folder.exists()


def test_launches() -> None:
    assert launch_of({}) == Launch()
    assert launch_of({"TORCHELASTIC_RUN_ID": "none", "GROUP_WORLD_SIZE": "2"}).torchrun == ""
    own = launch_of({"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "2"})
    assert str(os.getppid()) in own.torchrun
    assert own.attempt == 2
    assert not Launch().is_of({"torchrun": "", "slurm": ""})
