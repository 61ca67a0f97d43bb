"""How resident memory, open files and the log grow: 20,000 steps of each family, 50 fits in one process, one ordinary run.

python -m benchmarks.reliability.growth                       # about 15 minutes on 2 cores; exit 1 if the bar is missed
python -m benchmarks.reliability.growth --only vq vae --steps 5000

Each family trains a small model by the command line, with the callbacks of its config, in a process of its own. Resident memory
is read 40 times from a quarter of the steps on, after a garbage collection and `malloc_trim`, and a line is fitted. Bar: its
slope, less twice its standard error, is below 100 bytes a step; as many files are open after 50 fits as after the fifth; what
an ordinary run prints and writes to metrics.csv is less than 1 MB; two runs started at once in one folder keep apart.
"""

import argparse
import contextlib
import ctypes
import gc
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

_COMMON = ["--trainer.log_every_n_steps=10", "--trainer.max_epochs=1000000", "--trainer.accelerator=cpu"]
_VALIDATED = ["--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1", "--trainer.limit_train_batches=1000"]
_SMALL_VQ = ["--model.hidden=4", "--data.batch_size=4", "--model.quantizer.init_args.num_codes=8"]
FAMILIES: dict[str, list[str]] = {
    "vq": ["vq/quickstart", *_SMALL_VQ, "--model.quantizer.init_args.dim=8", *_VALIDATED],
    "vae": ["vae/mnist_binary", "--model.latents=4", "--model.hidden=[8]", "--model.bound_samples=2", *_VALIDATED],
    "nas": [
        "nas/quickstart",
        *(f"--model.space.init_args.{each}" for each in ("channels=2", "nodes=2", "stages=1")),
        "--model.retrain_epochs=0",
        "--data.batch_size=4",
        *_VALIDATED,
    ],
    "design": ["design/quickstart"],
    "routing": [
        "routing/planted",
        "--data.rows=4000",
        "--data.batch_size=4",
        *_VALIDATED,
    ],
    "selection": ["selection/quickstart", "--data.epoch_rows=4000", "--data.batch_size=4", *_VALIDATED],
    "text": [
        "text/quickstart",
        "--model.network.init_args.dim=4",
        "--model.network.init_args.hidden_dim=4",
        "--data.batch_size=2",
        "--data.context=8",
        "--trainer.callbacks=TextWriter",
        "--trainer.callbacks.tokens=8",
        *_VALIDATED,
    ],
    "control": [
        "control/quickstart",
        *(f"--data.{each}" for each in ("number=2", "steps=4", "updates=50", "episodes=1", "test_episodes=1")),
        "--model.method.init_args.epochs=2",
        "--model.method.init_args.batch_size=8",
    ],
}
_OWN_LENGTH = {"design": ["--model.search.init_args.steps={steps}", "--model.search.init_args.chains=2"]}
_BAR = 100.0  # bytes a step


class MemorySampler(Callback):
    """Writes the step and the resident memory to a file, a number of times.

    Args:
        path: of the file.
        steps: of the whole run.
        samples: how often; the first one is at a quarter of the steps.
    """

    def __init__(self, path: str, steps: int, samples: int = 40) -> None:
        self.path, self.steps, self.every, self.step = path, steps, max(1, steps * 3 // 4 // samples), 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.step += 1
        if self.step >= self.steps // 4 and self.step % self.every == 0:
            with open(self.path, "a", encoding="ascii") as file:
                file.write(f"{self.step} {resident()}\n")
        if self.step >= self.steps:
            trainer.should_stop = True
            trainer.limit_val_batches = 0


def resident() -> int:
    """Resident memory in bytes, of what is in use."""
    gc.collect()
    with contextlib.suppress(OSError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope of the line through the points by least squares, and its standard error."""
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mx) ** 2 for x, _ in points)
    rise = sum((x - mx) * (y - my) for x, y in points) / spread
    rest = sum((y - my - rise * (x - mx)) ** 2 for x, y in points)
    return rise, math.sqrt(rest / max(1, n - 2) / spread)


def command(arguments: list[str], folder: Path) -> list[str]:
    return [sys.executable, "-m", "discrete_lightning.cli", "fit", *arguments, f"--run_root={folder}"]


def environment() -> dict[str, str]:
    here = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}


def family(name: str, steps: int, folder: Path, data: Path) -> bool:
    """Whether the memory of a family stays."""
    path, began = folder / "memory.txt", time.monotonic()
    config, *options = FAMILIES[name]
    options += [each.format(steps=steps + 10) for each in _OWN_LENGTH.get(name, [])]
    if name == "vae":
        options += [f"--data.folder={data}", "--data.validation=20", "--data.verify=false", "--data.batch_size=4"]
    sampler = "benchmarks.reliability.growth.MemorySampler"
    options += [
        *_COMMON, f"--trainer.callbacks+={sampler}", f"--trainer.callbacks.path={path}", f"--trainer.callbacks.steps={steps}",
        "--trust=benchmarks", "--test_after_fit=false", "--wandb.enabled=false",
    ]  # fmt: skip
    done = subprocess.run(
        command(["-c", config, *options], folder),
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not path.exists():
        print(f"{name:10} exit code {done.returncode}: {done.stderr.strip()[-300:]}", flush=True)
        return False
    points = [(float(a), float(b)) for a, b in (line.split() for line in path.read_text().splitlines())]
    rise, error = slope(points)
    took = int(points[-1][0])
    metrics = sum(each.stat().st_size for each in folder.rglob("metrics.csv")) / max(1, took)
    print(
        f"{name:10} {took:6} steps in {time.monotonic() - began:4.0f} s: {rise:7.1f} +- {error:5.1f} bytes a step, "
        f"{points[-1][1] / 2**20:.0f} MiB at the end; metrics.csv {metrics:.0f} bytes a step",
        flush=True,
    )
    return rise - 2 * error < _BAR and took >= min(steps, 20_000)


_FITS = """
import contextlib, io, os, sys, warnings
from discrete_lightning.cli import main
from benchmarks.reliability.growth import resident
warnings.simplefilter("ignore")
for number in range(int(sys.argv[1])):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(["fit", *sys.argv[2:]])
    print(code, len(os.listdir("/proc/self/fd")), resident(), flush=True)
"""


def fits(folder: Path, count: int) -> bool:
    """Whether open files stay over fits in one process."""
    config, *options = FAMILIES["vq"]
    options = [*options, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--wandb.enabled=false"]
    given = [sys.executable, "-c", _FITS, str(count), "-c", config, *options, f"--run_root={folder}"]
    done = subprocess.run(given, env=environment(), cwd=folder, capture_output=True, text=True, check=False)
    rows = [[int(each) for each in line.split()] for line in done.stdout.splitlines()]
    if done.returncode or len(rows) < count or any(code for code, _, _ in rows):
        print(f"{count} fits: {done.stderr[-300:]} {rows[-1:]}")
        return False
    after, files = rows[min(4, count - 1)], [row[1] for row in rows]
    grown = (rows[-1][2] - after[2]) / 2**10 / max(1, count - 5)
    print(
        f"{count} fits in one process: {after[1]} open files after the fifth, {files[-1]} at the end (most {max(files)}); "
        f"memory + {grown:.0f} KiB a fit",
        flush=True,
    )
    return files[-1] <= after[1]


def log_size(folder: Path) -> bool:
    """Whether an ordinary run writes little."""
    options = ["-c", "vq/quickstart", "--wandb.enabled=false"]
    done = subprocess.run(command(options, folder), env=environment(), cwd=folder, capture_output=True, check=False)
    printed = len(done.stdout) + len(done.stderr)
    written = sum(each.stat().st_size for each in folder.rglob("metrics.csv"))
    print(f"fit -c vq/quickstart: {printed:,} bytes printed, {written:,} bytes of metrics.csv", flush=True)
    return not done.returncode and printed + written < 1e6


def together(folder: Path) -> bool:
    """Whether runs that start at once keep apart."""
    options = [
        "-c",
        *FAMILIES["vq"],
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2",
        "--wandb.enabled=false",
    ]
    good = True
    for how, places in (
        ("--run_root", [f"--run_root={folder / 'root'}"]),
        ("--run_dir", [f"--run_dir={folder / 'one'}"]),
    ):
        given = [sys.executable, "-m", "discrete_lightning.cli", "fit", *options, *places]
        runs = [
            subprocess.Popen(
                given, env=environment(), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        said = [run.communicate()[1] for run in runs]
        codes = sorted(run.returncode for run in runs)
        whole = [
            path.parent for path in folder.rglob("config.yaml") if (path.parent / "checkpoints" / "last.ckpt").exists()
        ]
        if how == "--run_root":
            good &= codes == [0, 0] and len(whole) == 2
            print(f"two runs at once with {how}: exit codes {codes}, {len(whole)} whole runs", flush=True)
        else:
            lines = [text.strip().splitlines()[-1] for text in said if "error" in text]
            good &= codes[0] == 0 < codes[1] and len(whole) == 3 and len(lines) == 1 and "is in use" in lines[0]
            words = lines[0].replace(str(folder), "FOLDER") if lines else ""
            print(f"two runs at once with {how}: exit codes {codes}, {len(whole) - 2} whole run; {words}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", nargs="*", default=[*FAMILIES, "fits", "log", "together"])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--fits", type=int, default=50)
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as place:
        from tests.small_mnist import write_small_mnist

        data = write_small_mnist(Path(place) / "data")
        for name in options.only:
            folder = Path(place) / name
            folder.mkdir()
            if name in FAMILIES:
                good &= family(name, options.steps, folder, data)
            elif name == "fits":
                good &= fits(folder, options.fits)
            else:
                good &= (log_size if name == "log" else together)(folder)
    print("as it should be" if good else "short of the bar")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
