import subprocess
import sys
import time
from pathlib import Path

import pytest

from discrete_lightning import __version__, catalog
from tests.cli.outcome import Cli


@pytest.fixture(autouse=True)
def _configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "configs"
    (root / "vq").mkdir(parents=True)
    (root / "vq/quickstart.yaml").write_text("# Codes for digits (3 minutes)\nseed_everything: 1\n")
    (root / "vq/fsq.yaml").write_text("seed_everything: 1\n")
    monkeypatch.setattr(catalog, "config_root", lambda: root)


def test_ls_shows_names_and_first_lines(cli: Cli) -> None:
    outcome = cli("ls")
    assert outcome.code == 0
    assert outcome.out.splitlines() == ["vq/fsq", "vq/quickstart  Codes for digits (3 minutes)"]


def test_cp_copies_and_never_overwrites(cli: Cli) -> None:
    assert cli("cp", "vq/quickstart", "mine.yaml").code == 0
    assert Path("mine.yaml").read_text().startswith("# Codes for digits")
    Path("mine.yaml").write_text("changed")
    outcome = cli("cp", "vq/quickstart", "mine.yaml")
    assert outcome.code == 1
    assert "mine.yaml exists and is not overwritten" in outcome.error
    assert Path("mine.yaml").read_text() == "changed"


@pytest.mark.parametrize("target", ["missing/mine.yaml", "configs"])
def test_cp_to_an_impossible_place(cli: Cli, target: str) -> None:
    outcome = cli("cp", "vq/quickstart", target)
    assert outcome.code == 1
    assert target in outcome.error


@pytest.mark.parametrize("name", ["vq/quickstrat", "quickstart"])
@pytest.mark.parametrize("command", [("cp", "{}", "mine.yaml"), ("fit", "-c", "{}")])
def test_unknown_name_lists_close_ones(cli: Cli, command: tuple[str, ...], name: str) -> None:
    outcome = cli(*(part.format(name) for part in command))
    assert outcome.code == 2
    assert repr(name) in outcome.error
    assert "did you mean vq/quickstart?" in outcome.error
    assert "discrete-lightning ls" in outcome.error


def test_unknown_command_and_missing_values(cli: Cli) -> None:
    assert "did you mean fit?" in cli("fitt").error
    assert (
        cli("fitt").code == cli("cp", "vq/fsq").code == cli("ls", "vq").code == cli("fit", "-c").code == cli().code == 2
    )


@pytest.mark.parametrize("arguments", [["ls"], ["cp", "no-such-config", "x.yaml"], ["--help"], ["--version"]])
def test_light_commands_import_nothing_heavy_and_answer_at_once(arguments: list[str]) -> None:
    script = (
        "import sys, time; start = time.perf_counter()\n"
        "from discrete_lightning.cli import main; main(sys.argv[1:])\n"
        "heavy = {'torch', 'lightning', 'wandb', 'jsonargparse', 'numpy'} & set(sys.modules)\n"
        "print(heavy, time.perf_counter() - start)"
    )
    repository = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", script, *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": repository}, check=True)
    assert time.perf_counter() - start < 2  # 0.1 s on an idle machine
    heavy, _, seconds = done.stdout.splitlines()[-1].rpartition(" ")
    assert heavy == "set()"
    assert float(seconds) < 0.5


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"discrete-lightning {__version__}\n"
