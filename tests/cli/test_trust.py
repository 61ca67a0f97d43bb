import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger

from discrete_lightning.cli.guards.trust import is_harmless
from discrete_lightning.estimators import ReinMax
from discrete_lightning.training.atomic_write import write_text
from tests.cli.outcome import Cli


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that leaves a trace when it is imported."""
    Path("planted.py").write_text(
        "from pathlib import Path\n"
        "Path('imported').touch()\n"
        "from lightning.pytorch import Callback, LightningModule\n"
        "class Mark(Callback): ...\n"
        "class Model(LightningModule): ...\n"
    )
    monkeypatch.syspath_prepend(".")
    sys.modules.pop("planted", None)


_CONFIGS = {
    "model": "model: {class_path: planted.Model}",
    "model as a string": "model: planted.Model",
    "callback": "trainer: {callbacks: [{class_path: planted.Mark}]}",
    "appended callback": "trainer: {callbacks+: [{class_path: planted.Mark}]}",
    "nested": "model: {class_path: tests.cli.toy.Toy, init_args: {choice: {class_path: planted.Choice}}}",
    "not installed": "model: {class_path: not_installed.Model}",
    "standard library": "model: {class_path: os.system}",
    "program": "trainer: {callbacks: {class_path: subprocess.Popen, init_args: {args: [touch, imported]}}}",
    "any function": "trainer: {callbacks: {class_path: LambdaCallback}}",
    "any function by its path": "trainer: {callbacks: {class_path: lightning.pytorch.callbacks.LambdaCallback}}",
    "hub": "model: {class_path: torch.hub.load}",
    "prefix without dot": "model: {class_path: torchplanted.Model}",
}


@pytest.mark.parametrize("config", _CONFIGS.values(), ids=_CONFIGS.keys())
def test_untrusted_paths_in_a_config_are_refused_before_the_import(cli: Cli, config: str) -> None:
    Path("bad.yaml").write_text(config)
    outcome = cli("fit", "--trust", "tests", "-c", "toy.yaml", "-c", "bad.yaml")
    assert outcome.code == 2
    assert "is not trusted" in outcome.error
    assert "bad.yaml" in outcome.error
    assert "add --trust" in outcome.error
    assert not Path("imported").exists()
    assert not Path("runs").exists()


def test_what_is_no_class_is_not_imported(cli: Cli) -> None:
    """A path under an unknown key is an unknown key, and a string argument stays a string."""
    Path("bad.yaml").write_text("whatever: {inner: [planted.Mark]}")
    outcome = cli("fit", "--trust", "tests", "-c", "toy.yaml", "-c", "bad.yaml")
    assert outcome.code == 2
    assert "has no option 'whatever.inner'" in outcome.error
    Path("string.yaml").write_text("model: {class_path: tests.cli.toy.Toy, init_args: {failure: planted.run}}")
    assert cli("check", "--trust", "tests", "-c", "toy.yaml", "-c", "string.yaml").code == 0
    assert not Path("imported").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model", "planted.Model"],
        ["--model=planted.Model"],
        ["--model.class_path=planted.Model"],
        ["--model.class_path", "not_installed.Model"],
        ["--trainer.callbacks+=planted.Mark"],
        ["--model.choice", "{class_path: planted.Choice}"],
        ["--model.help", "planted.Model"],
        ["--trainer.callbacks", "LambdaCallback"],
    ],
)
def test_untrusted_paths_on_the_command_line_are_refused(toy: Cli, arguments: list[str]) -> None:
    outcome = toy("fit", *arguments)
    assert outcome.code == 2
    assert "on the command line) is not trusted" in outcome.error
    assert not Path("imported").exists()


def test_files_that_configs_name_are_read_too(toy: Cli) -> None:
    Path("parts").mkdir()
    Path("parts/model.yaml").write_text("class_path: planted.Model")
    Path("more.yaml").write_text("model: parts/model.yaml")
    for arguments in (["-c", "more.yaml"], ["--model", "parts/model.yaml"]):
        assert "planted.Model" in toy("fit", *arguments).error
    assert not Path("imported").exists()


def test_what_only_the_parser_sees_is_refused_by_the_parser(toy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "planted.Model")
    Path("hidden.yaml").write_text("model: {class_path: '${oc.env:WHERE}'}")
    outcome = toy("check", "-c", "hidden.yaml")
    assert outcome.code == 2
    assert not Path("imported").exists()
    Path("hidden.txt").write_text("model: {class_path: planted.Model}")
    Path("chained.yaml").write_text("config: hidden.txt")
    outcome = toy("check", "-c", "chained.yaml")
    assert outcome.code == 2
    assert "planted.Model" in outcome.error
    assert not Path("imported").exists()
    Path("reached.yaml").write_text("model: {class_path: torch.os.system}")
    outcome = toy("check", "-c", "reached.yaml")
    assert outcome.code == 2
    assert "system" in outcome.error


def test_a_trusted_module_is_used_and_trust_ends_with_the_command(cli: Cli) -> None:
    Path("good.yaml").write_text("trainer: {callbacks: [{class_path: planted.Mark}]}")
    arguments = ("check", "-c", "toy.yaml", "-c", "good.yaml", "--trust", "tests")
    assert cli(*arguments, "--trust", "planted").code == 0
    assert Path("imported").exists()
    assert cli(*arguments).code == 2
    assert cli("check", "-c", "toy.yaml").code == 2
    # A class that an earlier command has imported is not trusted by its short name either.
    assert "planted.Mark" in cli(*arguments[:3], "--trust", "tests", "--trainer.callbacks+=Mark").error


def test_lambda_callback_can_be_trusted(toy: Cli) -> None:
    callback = "lightning.pytorch.callbacks.LambdaCallback"
    assert toy("check", f"--trainer.callbacks+={callback}").code == 2
    assert toy("check", f"--trainer.callbacks+={callback}", "--trust", callback).code == 0


@pytest.mark.parametrize("option", [["-cbad.yaml"], ["-c=bad.yaml"], ["--config=bad.yaml"], ["--config", "bad.yaml"]])
def test_every_way_to_give_a_config_is_read(toy: Cli, option: list[str]) -> None:
    Path("bad.yaml").write_text("model: {class_path: planted.Model}")
    outcome = toy("check", *option)
    assert outcome.code == 2
    assert "'planted.Model' (in" in outcome.error
    assert "bad.yaml) is not trusted" in outcome.error
    assert not Path("imported").exists()


@pytest.mark.parametrize("prefix", ["no/module", "", "jsonargparse"])
def test_trust_takes_modules(cli: Cli, prefix: str) -> None:
    assert "--trust" in cli("check", "-c", "toy.yaml", "--trust", prefix).error


@pytest.mark.parametrize("text", ["a: [1,\n", "- a\n", ""])
def test_files_that_are_no_configs(toy: Cli, text: str) -> None:
    Path("bad.yaml").write_text(text)
    outcome = toy("fit", "-c", "bad.yaml")
    assert outcome.code == 2
    assert "bad.yaml" in outcome.error


def test_kinds_of_things_that_may_be_named() -> None:
    parts = (
        torch.nn.Linear,
        torch.optim.Adam,
        torch.nn.functional.gelu,
        torch.bfloat16,
        EarlyStopping,
        CSVLogger,
        ReinMax,
    )
    others = (
        torch.load,
        torch.nn.Module.load_state_dict,
        torch.jit.ScriptModule,
        torch.nn,
        partial(torch.nn.functional.relu),
        LightningCLI,
        open,
        Path,
        write_text,
    )
    for part in parts:
        assert is_harmless(part, []), part
    for other in others:
        assert not is_harmless(other, []), other
    assert is_harmless(torch.load, ["torch.serialization"])
    assert not is_harmless(torch.load, ["torch.serial"])
