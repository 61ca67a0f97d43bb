import errno
from pathlib import Path

import pytest

from discrete_lightning.training.run_recorder import RunRecorder
from tests.cli.outcome import Cli


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model.learning_rat", "1"], "Toy has no option 'learning_rat'; did you mean 'learning_rate'?"),
        (["--model.init_args.learning_rat=1"], "Toy has no option 'learning_rat'; did you mean 'learning_rate'?"),
        (["--model.choice.scal=1"], "Scaled has no option 'scal'; did you mean 'scale'?"),
        (
            ["--trainer.max_epoch", "3"],
            "the group trainer has no option 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?",
        ),
        (["--data.row=3"], "ToyData has no option 'row'; did you mean 'rows'?"),
        (["--temperature.cout", "epochs"], "the group temperature has no option 'temperature.cout'; did you mean"),
        (["--temprature.count=epochs"], "`fit` has no option 'temprature.count'; did you mean 'temperature.count'?"),
        (["--model.width", "wide"], "model.width must be a whole number, got wide (given by --model.width)"),
        (["--model", "Toi"], "model: there is no class 'Toi'; did you mean Toy?"),
        (["--model.choice", "Scalde"], "there is no class 'Scalde'"),
        (["--temperature.schedule", "Exponentail"], "there is no class 'Exponentail'; did you mean Exponential?"),
        (["--trainer.callbacks+=EarlyStoping"], "did you mean EarlyStopping?"),
        (["--temperature.count=epochs"], "temperature has options but no schedule"),
        (["--trainer.limit_val_batches=${model.nothing}"], "the config cannot be resolved"),
    ],
)
def test_a_typo_on_the_command_line(toy: Cli, arguments: list[str], expected: str) -> None:
    outcome = toy("fit", *arguments)
    assert outcome.code == 2
    assert expected in outcome.error
    assert len(outcome.error) < 400
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            "model: {class_path: tests.cli.toy.Toy, init_args: {widht: 1}}",
            "Toy has no option 'widht'; did you mean 'width'?",
        ),
        (
            "trainer: {max_epoch: 1}",
            "the group trainer has no option 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?",
        ),
        ("temprature: {count: epochs}", "`fit` has no option 'temprature.count'; did you mean 'temperature.count'?"),
        (
            "temperature: {schedule: {class_path: Exponential, init_args: {start: 1, rat: 1}}}",
            "Exponential has no option 'rat'; did you mean 'rate'?",
        ),
    ],
)
def test_a_typo_in_a_config(toy: Cli, config: str, expected: str) -> None:
    Path("typo.yaml").write_text(config)
    outcome = toy("fit", "-c", "typo.yaml")
    assert outcome.code == 2
    assert expected in outcome.error


def test_nothing_to_run(cli: Cli) -> None:
    outcome = cli("fit")
    assert outcome.code == 2
    assert "nothing says which model to use: give a config with -c" in outcome.error


def test_a_part_that_needs_a_value(cli: Cli) -> None:
    outcome = cli("check", "-c", "nas/quickstart", "--model.cost.measure=parameters")
    assert (outcome.code, outcome.error) == (2, "CostTarget needs target: set model.cost.target")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model.width=0"], "Toy: width must be at least 1, got 0"),
        (["--model.choice.scale=-1"], "Scaled: scale must be positive, got -1.0"),
        (
            [
                "--temperature.schedule=Exponential",
                "--temperature.schedule.start=.nan",
                "--temperature.schedule.rate=1",
            ],
            "Exponential",
        ),
        (["--trainer.accelerator=abacus"], "You selected an invalid accelerator name: `accelerator='abacus'`"),
        (
            ["--trainer.callbacks+=ModelCheckpoint", "--trainer.enable_checkpointing=false"],
            "Trainer was configured with",
        ),
    ],
)
def test_a_value_that_a_class_refuses(toy: Cli, arguments: list[str], expected: str) -> None:
    outcome = toy("fit", *arguments)
    assert outcome.code == 1
    assert outcome.error.startswith(expected)
    assert not list(Path().glob("runs/*"))


def test_setup_that_fails_leaves_no_run(toy: Cli) -> None:
    outcome = toy("fit", "--data.missing=true")
    assert outcome.code == 1
    assert outcome.error == "ToyData: No such file or directory: rows.npz"
    assert not list(Path().glob("runs/*"))


def test_a_temperature_for_a_model_without_one(toy: Cli) -> None:
    outcome = toy("fit", "--temperature.schedule=Constant", "--temperature.schedule.value=1")
    assert outcome.code == 1
    assert "TemperatureAnnealing" in outcome.error
    assert outcome.error.endswith("(on the command line: --temperature.schedule null)")
    assert not list(Path().glob("runs/*"))


def test_a_temperature_can_be_left_out(toy: Cli) -> None:
    Path("warm.yaml").write_text("temperature: {schedule: {class_path: Constant, init_args: {value: 1.0}}}")
    assert toy("check", "-c", "warm.yaml", "--temperature.schedule", "null").code == 0


def test_a_root_that_is_a_file(toy: Cli) -> None:
    Path("taken").touch()
    outcome = toy("fit", "--run_root", "taken")
    assert outcome.code == 1
    assert "taken" in outcome.error
    assert "--run_root" in outcome.error


def test_a_root_that_cannot_be_written(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:  # as a user who is not root sees it
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    outcome = toy("fit", "--run_root", "locked")
    assert outcome.code == 1
    assert "the run folder cannot be made: Permission denied: locked/toy/" in outcome.error


def test_an_error_in_own_code_shows_its_lines_and_no_others(toy: Cli) -> None:
    outcome = toy("fit", "--model.fail_at=0", "--model.failure=bug")
    assert outcome.code == 1
    *frames, message = outcome.err.splitlines()
    assert message == "error: ZeroDivisionError: asked for (in your code, above; --traceback shows all of it)"
    assert ("toy.py" in frames[0], "in training_step" in frames[0]) == (True, True)
    assert not any("site-packages" in line or "Traceback" in line for line in frames)
    assert "site-packages" in toy("fit", "--model.fail_at=0", "--model.failure=bug", "--traceback").err


def test_a_bug_of_this_package_keeps_its_traceback(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunRecorder, "setup", lambda *_, **__: {}["a bug"])
    monkeypatch.setattr(
        "discrete_lightning.cli.messages.failures.user_frames", lambda _: []
    )  # this file is not of a user
    with pytest.raises(KeyError, match="a bug"):
        toy("fit")


def test_traceback_on_demand(toy: Cli) -> None:
    outcome = toy("fit", "--traceback", "--model.width=0")
    assert "Traceback" in outcome.err
    assert outcome.err.endswith("error: Toy: width must be at least 1, got 0 (given by --model.width)\n")


@pytest.mark.parametrize("group", ["trainer", "temperature", "wandb"])
def test_a_group_of_options_cannot_be_null(toy: Cli, group: str) -> None:
    Path("null.yaml").write_text(f"{group}: null\n")
    outcome = toy("check", "-c", "null.yaml")
    assert outcome.code == 2
    assert outcome.error.startswith(f"{group} is a group of options, not null: ")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            "trainer: {max_epochs: 5}\ntrainer: {log_every_n_steps: 1}\n",
            "trainer is there twice, in lines 1 and 2: keep one",
        ),
        ("data:\n  init_args:\n    rows: 8\n    rows: 4\n", "data.init_args.rows is there twice, in lines 3 and 4"),
        ("trainer:\n\tmax_epochs: 5\n", "bad.yaml, line 2: this is not YAML"),
        ("", "it holds nothing"),
        ("model:\n  class_path: tests.cli.toy.Toy\n  init_args:\n    width: 0\n", "got 0 (line 4 of bad.yaml)"),
        ("trainer:\n  max_epochs: many\n", "trainer.max_epochs must be a whole number, got many (line 2 of bad.yaml)"),
        ("trainer:\n  accumulate_grad_batches: 0\n", "must be at least 1, got 0 (line 2 of bad.yaml)"),
        ("data: {class_path: tests.cli.toy.ToyData, init_args: {rows: null}}", "data.rows must not be null"),
    ],
)
def test_a_config_is_answered_with_its_line(toy: Cli, config: str, expected: str) -> None:
    Path("bad.yaml").write_text(config)
    outcome = toy("fit", "-c", "bad.yaml")
    assert outcome.code in (1, 2)
    assert expected in outcome.error
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--seed_everything=-1", "seed_everything must lie in 0 to 4294967295, got -1"),
        ("--trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches must be at least 1, got 0"),
        ("--trainer.check_val_every_n_epoch=0", "limit_val_batches=0 switches validation off"),
        ("--trainer.gradient_clip_val=-1", "trainer.gradient_clip_val must be at least 0, got -1"),
        ("--trainer.val_check_interval=7", "(given by --trainer.val_check_interval)"),
        ("--trainer.devices=100000", "trainer.devices is 100000 processes on this machine"),
        ("--data=Digits --data.num_workers=1000000", "data.num_workers is 1000000 processes on this machine"),
        ("--temperature=null", "--temperature.schedule null leaves the annealing out"),
        ("--modle.width=3", "did you mean 'model.width'?"),
        ("--width=3", "did you mean 'model.width'?"),
        ("--model.width", "--model.width needs a value"),
        ("--model=Digits", "Digits is no LightningModule"),
        ("--model=Mine", "give mine.Mine and --trust mine"),
        ("toy.yaml", "a config is given with -c toy.yaml"),
    ],
)
def test_what_was_meant(toy: Cli, argument: str, expected: str) -> None:
    Path("mine.py").write_text("class Mine(Toy):\n    pass\n")
    outcome = toy("fit", *argument.split())
    assert outcome.code in (1, 2)
    assert expected in outcome.error


def test_a_library_that_fails_in_own_code_shows_the_line(toy: Cli) -> None:
    Path("torn.py").write_text(
        "import json\nfrom tests.cli.toy import ToyData\n\n\nclass Torn(ToyData):\n    def setup(self, stage):\n"
        "        json.loads('{')\n"
    )
    outcome = toy("fit", "--data=torn.Torn", "--trust", "torn")
    assert outcome.code == 1
    *frames, message = outcome.err.splitlines()
    assert message.startswith("error: JSONDecodeError: Expecting property name")
    assert [line.strip() for line in frames if "File" in line] == [
        f'File "{Path("torn.py").resolve()}", line 7, in setup'
    ]


def test_a_run_on_several_machines_says_whom_it_waits_for(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discrete_lightning.cli.commands._call", lambda _: [])
    outcome = toy("fit", "--trainer.num_nodes=2", "--trainer.devices=1")
    assert "for the 1 processes of the other 1 machines (trainer.num_nodes=2)" in outcome.err
    assert "MASTER_ADDR" in outcome.err
