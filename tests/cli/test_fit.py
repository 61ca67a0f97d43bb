import csv
import os
from pathlib import Path

import pytest
import torch
import yaml

from tests.cli.outcome import Cli, only_run


def _config(run: Path) -> dict[str, dict[str, dict[str, object]]]:
    content: dict[str, dict[str, dict[str, object]]] = yaml.safe_load((run / "config.yaml").read_text())
    return content


def _metrics(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


def test_a_run_has_a_folder_and_ends_with_a_result(toy: Cli) -> None:
    outcome = toy("fit")
    assert outcome.code == 0
    assert outcome.err == ""
    run = only_run("runs/toy/*")
    assert sorted(path.name for path in run.iterdir()) == ["checkpoints", "config.yaml", "hparams.yaml", "metrics.csv"]
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    lines = [line.strip() for line in outcome.out.splitlines()]
    assert "result" in lines
    assert any("test/loss" in line for line in lines)
    assert any("test/rate" in line and "0.1" in line for line in lines)
    position = lines.index(f"run: {run}")
    assert lines[position - 1].startswith("time: ")
    files, commands = lines[position + 1 : lines.index("next:")], lines[lines.index("next:") + 1 :]
    assert files == ["checkpoints/last.ckpt", "config.yaml", "hparams.yaml", "metrics.csv"]
    assert commands == [f"discrete-lightning {verb} -c {run} --trust tests" for verb in ("test", "predict")]
    assert {"train/loss", "val/loss", "test/loss", "epoch", "step"} <= set(_metrics(run)[0])


def test_output_without_a_terminal_is_short(toy: Cli) -> None:
    outcome = toy("fit", "--trainer.max_epochs=50")
    assert len(outcome.out.splitlines()) < 20
    assert "epoch 50/50  train/loss" in outcome.out


def test_config_repeats_the_run(toy: Cli, cli: Cli) -> None:
    toy("fit", "--model.choice", "Same", "--seed_everything", "5")
    first = only_run()
    assert cli("fit", "--trust", "tests", "-c", str(first / "config.yaml")).code == 0
    assert cli("fit", "--trust", "tests", "-c", str(first)).code == 0
    runs = sorted(Path("runs/toy").iterdir(), key=lambda run: run.stat().st_mtime)
    assert len(runs) == 3
    assert len({(run / "config.yaml").read_text() for run in runs}) == 1
    assert len({(run / "metrics.csv").read_text() for run in runs}) == 1


def test_a_seed_that_was_drawn_is_written_down(toy: Cli) -> None:
    assert toy("fit", "--seed_everything=true").code == 0
    assert type(_config(only_run())["seed_everything"]) is int


def test_later_configs_win_and_the_command_line_wins_over_them(toy: Cli) -> None:
    Path("more.yaml").write_text("model: {init_args: {width: 5, learning_rate: 0.5}}")
    outcome = toy("fit", "--model.learning_rate=1e-3", "-c", "more.yaml", "--trainer.limit_train_batches=1")
    assert outcome.code == 0
    config = _config(only_run())
    assert config["model"]["init_args"]["width"] == 5
    assert config["model"]["init_args"]["learning_rate"] == 1e-3
    assert config["trainer"]["limit_train_batches"] == 1


def test_a_class_is_replaced_by_its_short_name(toy: Cli) -> None:
    assert toy("fit", "--model.choice", "Same").code == 0
    assert _config(only_run())["model"]["init_args"]["choice"] == {"class_path": "tests.cli.toy.Same"}


def test_interpolations_see_later_overrides(toy: Cli) -> None:
    Path("more.yaml").write_text("model: {init_args: {width: '${trainer.max_epochs}'}}")
    assert toy("fit", "-c", "more.yaml", "--trainer.max_epochs=1").code == 0
    assert _config(only_run())["model"]["init_args"]["width"] == 1


def test_runs_of_one_second_get_folders_of_their_own(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen:
        @staticmethod
        def now() -> "Frozen":
            return Frozen()

        def strftime(self, pattern: str) -> str:
            return "20260102-030405"

    monkeypatch.setattr("discrete_lightning.training.run_folder.datetime", Frozen)
    for _ in range(3):
        assert toy("fit", "--trainer.max_epochs=1").code == 0
    assert toy("test").code == 0
    names = sorted(path.name for path in Path("runs/toy").iterdir())
    assert names == ["20260102-030405", "20260102-030405-2", "20260102-030405-3", "20260102-030405-test"]


def test_run_root_and_run_dir(toy: Cli) -> None:
    assert toy("fit", "--run_root", "elsewhere/deep").code == 0
    assert (only_run("elsewhere/deep/toy/*") / "config.yaml").exists()
    Path("exact").mkdir()
    assert toy("fit", "--run_dir", "exact").code == 0
    assert Path("exact/checkpoints/last.ckpt").exists()
    before = sorted(os.listdir("exact"))
    outcome = toy("fit", "--run_dir", "exact")
    assert outcome.code == 2
    assert "exact is in use" in outcome.error
    assert sorted(os.listdir("exact")) == before
    assert toy("fit", "--run_dir", "a/new/one").code == 0


def test_own_loggers_and_checkpoints_are_respected(toy: Cli) -> None:
    Path("own.yaml").write_text(
        "trainer:\n"
        "  logger: {class_path: CSVLogger, init_args: {save_dir: own_logs}}\n"
        "  callbacks: [{class_path: ModelCheckpoint, init_args: {filename: mine, monitor: val/loss}}]\n"
    )
    assert toy("fit", "-c", "own.yaml").code == 0
    run = only_run()
    # theirs keeps the best weights: the last ones are kept beside them
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["last.ckpt", "mine.ckpt"]
    assert not (run / "metrics.csv").exists()
    assert Path("own_logs/lightning_logs/version_0/metrics.csv").exists()


def test_no_logger_and_no_checkpoint(toy: Cli) -> None:
    assert toy("fit", "--trainer.logger=false", "--trainer.enable_checkpointing=false").code == 0
    assert [path.name for path in only_run().iterdir()] == ["config.yaml"]


def test_fast_dev_run_and_check_write_nothing(toy: Cli) -> None:
    before = sorted(os.listdir())
    assert toy("fit", "--trainer.fast_dev_run=true").code == 0
    outcome = toy("check", "--model.width=10")
    assert outcome.code == 0
    assert outcome.out == "OK: toy: model Toy, data ToyData, 50 parameters; one batch was trained on and validated\n"
    assert sorted(os.listdir()) == before


def test_barebones(toy: Cli) -> None:
    options = [f"--trainer.{name}=null" for name in ("log_every_n_steps", "num_sanity_val_steps")]
    with pytest.warns(UserWarning, match="barebones"):
        assert toy("fit", "--trainer.barebones=true", *options).code == 0
    assert not (only_run() / "checkpoints").exists()


@pytest.mark.parametrize("arguments", [["--test_after_fit=false"], ["--data=tests.cli.toy.Untested"]])
def test_without_test(toy: Cli, arguments: list[str]) -> None:
    outcome = toy("fit", *arguments)
    assert outcome.code == 0
    assert "result" not in outcome.out
    assert "run: " in outcome.out


def test_a_temperature_is_annealed_and_can_be_overridden(toy: Cli) -> None:
    Path("warm.yaml").write_text(
        "model: {class_path: tests.cli.toy.Warm}\n"
        "temperature: {schedule: {class_path: Exponential, init_args: {start: 1.0, rate: 0.5, minimum: 0.01}}}\n"
    )
    assert toy("fit", "-c", "warm.yaml", "--temperature.schedule.init_args.rate", "1e-3").code == 0
    run = only_run()
    schedule = _config(run)["temperature"]["schedule"]
    assert schedule["class_path"] == "discrete_lightning.schedules.Exponential"  # type: ignore[index]
    temperatures = [float(row["temperature"]) for row in _metrics(run) if row["temperature"]]
    expected = torch.exp(-1e-3 * torch.arange(4.0))
    torch.testing.assert_close(torch.tensor(temperatures), expected)


def test_print_config_and_help(toy: Cli, cli: Cli) -> None:
    outcome = toy("fit", "--print_config")
    assert outcome.code == 0
    assert yaml.safe_load(outcome.out)["trainer"]["max_epochs"] == 2
    outcome = cli("fit", "--help")
    assert outcome.code == 0
    assert "--temperature.count" in outcome.out
    assert "--trust PREFIX" in outcome.out
    screen = "\n".join(outcome.out.splitlines()[:35])
    assert all(part in screen for part in ("example:", "--trainer.max_epochs", "--model.", "--data.", "--ckpt_path"))
    assert outcome.out.count("--ckpt_path") == 1
    assert not Path("runs").exists()
