"""Starts a fit of `ranks_model` by one of the launchers, in a folder of its own, and watches it end."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAUNCHERS = ("ddp", "torchrun", "ddp_spawn")
_CONFIG = """\
seed_everything: 1
model: {class_path: benchmarks.reliability.ranks_model.Ranked}
data: {class_path: benchmarks.reliability.ranks_model.Rows}
wandb: {enabled: false}
trainer: {accelerator: cpu, max_epochs: 3, log_every_n_steps: 1}
"""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Launched:
    """A fit that runs.

    Args:
        process: the one that was started.
        folder: its working directory.
        ranks: how many.
    """

    process: subprocess.Popen[str]
    folder: Path
    ranks: int

    def wait_for(self, mark: str, seconds: float = 200.0) -> None:
        """Until each rank has written its file `mark-<rank>`."""
        end = time.monotonic() + seconds
        while not all((self.folder / f"{mark}-{rank}").exists() for rank in range(self.ranks)):
            if time.monotonic() > end or self.process.poll() is not None:
                self.process.kill()
                raise RuntimeError(f"no {mark} in {seconds} s: {self.process.communicate()[1]}")
            time.sleep(0.02)

    def pid(self, rank: int) -> int:
        return int((self.folder / f"pid-{rank}").read_text())

    def end(self, seconds: float = 150.0) -> tuple[int, str]:
        """Exit code and what was written to stderr."""
        _, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, err

    def orphans(self, seconds: float = 10.0) -> list[int]:
        """The ranks that still run after so many seconds; they are ended."""
        alive = list(range(self.ranks))
        end = time.monotonic() + seconds
        while alive and time.monotonic() < end:
            alive = [rank for rank in alive if _runs(self.pid(rank))]
            time.sleep(0.05)
        for rank in alive:
            os.kill(self.pid(rank), 9)
        return alive


def launch(
    launcher: str, folder: Path, *options: str, ranks: int = 2, before: tuple[str, ...] = (), **variables: str
) -> Launched:
    """Starts `fit` of the model on so many ranks.

    Args:
        launcher: one of LAUNCHERS.
        folder: empty, or that of an earlier start.
        options: of the command line.
        ranks: how many.
        before: options of torchrun.
        variables: of the environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ranks.yaml").write_text(_CONFIG)
    start = [sys.executable, "-m"]
    if launcher == "torchrun":
        start += [
            "torch.distributed.run",
            "--nproc-per-node",
            str(ranks),
            "--master-port",
            str(free_port()),
            *before,
            "-m",
        ]
    strategy = {"torchrun": "ddp"}.get(launcher, launcher) if ranks > 1 else "auto"
    devices = [f"--trainer.strategy={strategy}", f"--trainer.devices={ranks}"]
    command = [*start, "discrete_lightning.cli", "fit", "-c", "ranks.yaml", "--trust", "benchmarks", *devices, *options]
    own = {name: value for name, value in os.environ.items() if not name.endswith("RANK") and name[:6] != "SLURM_"}
    environment = {**own, "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1", **variables}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    return Launched(process, folder, ranks)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
