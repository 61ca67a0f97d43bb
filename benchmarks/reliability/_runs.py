"""Short runs of each family by the command line, in processes that can be killed, and what their checkpoints hold.

A process is forked from this one, which has imported everything: a run then starts in a tenth of a second. The parent makes no
thread, as a fork needs.
"""

import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as _pyplot  # noqa: F401
import torch
from torch import Tensor

from discrete_lightning._lazy import load_public_names
from discrete_lightning.cli import app as _app  # noqa: F401  what a run would import
from discrete_lightning.cli import main

load_public_names()
_BATCHES = ["--trainer.limit_train_batches=5", "--trainer.limit_val_batches=2", "--trainer.limit_test_batches=2"]
_SHORT = [
    *_BATCHES,
    "--trainer.max_epochs=3",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.val_check_interval=1.0",
    "--trainer.log_every_n_steps=1",
]
FAMILIES = {
    "vq": ["-c=vq/quickstart", *_SHORT, "--data.batch_size=32", "--model.hidden=8"],
    "vae": [
        "-c=vae/mnist_categorical",
        "--data=Digits",
        "--data.binarize=dynamic",
        "--data.batch_size=32",
        *_SHORT,
        "--model.bound_samples=10",
        "--trainer.accumulate_grad_batches=2",
    ],
    "nas": ["-c=nas/quickstart", *_SHORT, "--data.batch_size=8"],
    "design": ["-c=design/quickstart", "--model.search.steps=6"],
    "routing": ["-c=routing/quickstart", *_SHORT, "--data.batch_size=4", "--model.layers=1", "--model.dim=32"],
    "selection": ["-c=selection/quickstart", *_SHORT, "--data.batch_size=32"],
    "text": ["-c=text/quickstart", *_SHORT, "--data.batch_size=8"],
    "control": [
        "-c=control/quickstart",
        "--data.updates=4",
        "--data.episodes=4",
        "--data.test_episodes=4",
        "--data.environment=CartPole",
        "--trainer.max_epochs=3",
    ],
}
EVERY_STEP = [
    "--trainer.callbacks+=ModelCheckpoint",
    "--trainer.callbacks.every_n_train_steps=1",
    "--trainer.callbacks.save_last=true",
]
_PLACES = ("dirpath", "_path", "best_k_models", "KeptAnswers")  # keys of paths, which differ from run to run
_TIMES = ("time", "seconds")
_PLACE = "/exact_resume/place"
_ANYWHERE = ("/state_dict", "/optimizer_states", "/lr_schedulers")


class Started:
    """A run that has been started, in as many processes as ranks.

    Args:
        arguments: of the command line.
        log: file for all that is printed.
        ranks: number of processes, as torchrun would start them.
    """

    def __init__(self, arguments: list[str], log: Path, ranks: int = 1) -> None:
        self.begun, self.codes = time.monotonic(), dict[int, int]()
        port = _free_port()
        self.processes = [_fork(arguments, log, rank, ranks, port) for rank in range(ranks)]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to all of the processes, and to what they started."""
        for process in self.processes:
            if process not in self.codes:
                try:
                    os.killpg(process, number)
                except ProcessLookupError:  # it has no group of its own yet
                    os.kill(process, number)

    def wait(self, seconds: float = 600.0) -> list[int]:
        """The exit codes; raises TimeoutError after so many seconds. -9 is a kill."""
        end = time.monotonic() + seconds
        while len(self.codes) < len(self.processes):
            for process in self.processes:
                if process not in self.codes:
                    found, status = os.waitpid(process, os.WNOHANG)
                    if found:
                        self.codes[process] = os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"the run did not end in {seconds} s")
            time.sleep(0.01)
        return [self.codes[process] for process in self.processes]

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.begun


def _fork(arguments: list[str], log: Path, rank: int, ranks: int, port: int) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setsid()
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        torch.set_num_threads(1)
        if ranks > 1:
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks),
                "NODE_RANK": "0", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                "TORCHELASTIC_RUN_ID": "benchmark",
            }  # fmt: skip
            arguments = [*arguments, f"--trainer.devices={ranks}", "--trainer.strategy=ddp"]
        warnings.simplefilter("ignore")
        code = main([*arguments, "--trainer.accelerator=cpu", "--wandb.enabled=false"])
    finally:
        sys.stdout.flush()
        os._exit(code)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def content(checkpoint: Path) -> dict[str, Any]:
    """All values of a checkpoint by their path in it, but for names of files and times."""
    return {
        name: value
        for name, value in _flat(torch.load(checkpoint, weights_only=True))
        if not any(part in name for part in (*_PLACES, *_TIMES))
    }


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _flat(each, f"{name}/{number}")
    else:
        yield name, value


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The names of values that are not equal, to the bit, or in only one of the two.

    A run that is resumed when it has made its last step saves its last checkpoint when it ends, and the uncut run saved it with
    that step: they stand at different places, and have weights, optimisers and schedulers in common.
    """
    names = one.keys() | other.keys()
    if one[_PLACE] != other[_PLACE]:
        names = {name for name in names if name.startswith(_ANYWHERE)}
    return sorted(name for name in names if name not in one or name not in other or not _equal(one[name], other[name]))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and _bits(one) == _bits(other)
    return bool(one == other or (one != one and other != other))


def _bits(x: Tensor) -> bytes:
    return x.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
