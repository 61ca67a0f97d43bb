"""One step of search (weights and architecture) on the supernet of NAS-Bench-201, C = 16, N = 1, batch 64, images of 32 x 32:
GDAS, which runs the drawn operation of each edge alone, against DARTS, which runs and mixes all five.

python -m benchmarks.nas.search_step --threads 1

Each contestant trains by ArchitectureSearch in separate processes, in turns; time is the median step, memory the peak of
the process (of the device with --device cuda) above what it held before the model was built.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
import time
import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch.utils.data import DataLoader

from benchmarks._memory import peak_of
from benchmarks._timing import device_name, ratio
from discrete_lightning.estimators import Estimator, LeaveOneOut, ReinMax
from discrete_lightning.models import DARTS, GDAS, SNAS, ArchitectureSearch, SearchMethod
from discrete_lightning.nn import NASBench201

METHODS: dict[str, SearchMethod | Estimator] = {
    "DARTS": DARTS(),
    "GDAS": GDAS(),
    "ReinMax": ReinMax(),
    "LeaveOneOut(2)": LeaveOneOut(2),
    "SNAS": SNAS(),
}
BATCH, SHAPE = 64, (3, 32, 32)


class Clock(Callback):
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._start = _now()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.seconds.append(_now() - self._start)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def contestant(name: str, steps: int, device: str, threads: int) -> dict[str, Any]:
    """Seconds of each step after the first two, and the memory they took."""
    torch.set_num_threads(threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    seed_everything(0, verbose=False)
    pairs = [(torch.rand(BATCH, *SHAPE), torch.randint(10, (BATCH,))) for _ in range(2)]
    batches = [dict(zip(("weights", "architecture"), pairs, strict=True))] * (steps + 2)
    clock = Clock()
    trainer = Trainer(
        max_epochs=1, accelerator="gpu" if device == "cuda" else "cpu", devices=1, logger=False, callbacks=[clock],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip

    def fit() -> None:
        model = ArchitectureSearch(METHODS[name], NASBench201(channels=16, cells=1), image_shape=SHAPE)
        trainer.fit(model, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]

    mebibytes = peak_of(fit, device)
    return {"seconds": clock.seconds[2:], "mebibytes": mebibytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["GDAS", "ReinMax", "LeaveOneOut(2)"], choices=list(METHODS))
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        measured = contestant(arguments.contestant, arguments.steps, arguments.device, arguments.threads)
        print("measured " + json.dumps(measured))
        return
    torch.set_num_threads(arguments.threads)
    names = ["DARTS", *arguments.methods]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            options = [f"--{key}={getattr(arguments, key)}" for key in ("device", "threads", "steps")]
            command = [sys.executable, "-m", "benchmarks.nas.search_step", "--contestant", name, *options]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            measured = json.loads(next(line for line in output.splitlines() if line.startswith("measured"))[9:])
            seconds[name].append(statistics.median(measured["seconds"]))
            memory[name].append(measured["mebibytes"])
    print(f"{device_name(arguments.device)}, torch {torch.__version__}, batch {BATCH}, {arguments.rounds} rounds")
    for name in names:
        print(
            f"{name:<15} step {statistics.median(seconds[name]):6.2f} s, {ratio(seconds[name], seconds['DARTS']):.2f} of "
            f"DARTS; peak {statistics.median(memory[name]):6.0f} MiB, {ratio(memory[name], memory['DARTS']):.2f} of DARTS"
        )


if __name__ == "__main__":
    main()
