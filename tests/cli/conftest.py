import os
from pathlib import Path

import pytest

from discrete_lightning.cli import main
from tests.cli.outcome import Cli, Outcome

TOY = """\
# A toy
seed_everything: 1
model:
  class_path: tests.cli.toy.Toy
  init_args: {width: 3, choice: Scaled}
data: {class_path: tests.cli.toy.ToyData}
trainer: {max_epochs: 2, log_every_n_steps: 1, accelerator: cpu, num_sanity_val_steps: 0}
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with toy.yaml, and no W&B, whatever the machine has."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.endswith("RANK") or name == "WANDB_API_KEY"]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    Path("toy.yaml").write_text(TOY)


@pytest.fixture(autouse=True)
def _in_workplace(workplace: None) -> None:
    """Every test here runs there."""


@pytest.fixture
def cli(workplace: None, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in this process."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main(arguments)
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def toy(cli: Cli) -> Cli:
    """Like `cli`, for the toy config: `toy("fit", "--model.width", "4")`."""

    def call(command: str, *arguments: str) -> Outcome:
        return cli(command, "--trust", "tests", "-c", "toy.yaml", *arguments)

    return call
