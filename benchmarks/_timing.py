"""Paired timings: the contestants take turns, so that a machine whose speed drifts is fair to all; medians are compared."""

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch


def device_name(device: str) -> str:
    """What the figures were measured on."""
    return (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    )


def interleaved(contestants: Mapping[str, Callable[[], object]], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, after two rounds of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(rounds + 2):
        for name, run in contestants.items():
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            if round_number >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(slower: list[float], faster: list[float]) -> float:
    """Median over rounds of slower / faster, round by round."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def milliseconds(seconds: list[float]) -> float:
    """The median, in milliseconds."""
    return statistics.median(seconds) * 1e3


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Inside, another process keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def cases(threads: int) -> Iterator[str]:
    """Sets up one case after the other for timings on the CPU, and names it."""
    for name, number, beside in (
        (f"{threads} threads, idle", threads, nullcontext()),
        ("1 thread", 1, nullcontext()),
        (f"{threads} threads beside a busy process", threads, busy_neighbour()),
    ):
        torch.set_num_threads(number)
        with beside:
            yield name
