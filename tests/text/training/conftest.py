import os
from collections.abc import Callable
from pathlib import Path

import pytest

from discrete_lightning.cli import main
from tests.cli.outcome import Cli, Outcome

CONFIG = """\
# A tiny language model
seed_everything: 1
model:
  class_path: LanguageModel
  init_args:
    network: {class_path: GRUNetwork, init_args: {vocabulary: 300, dim: 8, hidden_dim: 16}}
data:
  class_path: TextFiles
  init_args: {files: 'texts/*.txt', context: 8, batch_size: 4, vocabulary: 280}
trainer: {max_epochs: 1, log_every_n_steps: 1, accelerator: cpu, num_sanity_val_steps: 0, callbacks: [TextWriter]}
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in this process, in a folder with tiny.yaml and three texts."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.endswith("RANK") or name == "WANDB_API_KEY"]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    Path("tiny.yaml").write_text(CONFIG)
    Path("texts").mkdir()
    for name in ("a", "b", "c"):
        Path(f"texts/{name}.txt").write_text(f"the cat {name} and the dog and the cow.\n" * 12)

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main(arguments)
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def run(cli: Cli) -> Callable[..., Path]:
    """Fits tiny.yaml and returns the run's folder."""

    def fit(*arguments: str) -> Path:
        outcome = cli("fit", "-c", "tiny.yaml", *arguments)
        assert outcome.code == 0, outcome.err
        return max(Path("runs").glob("*/*"), key=lambda path: path.stat().st_mtime)

    return fit
