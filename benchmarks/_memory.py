"""Peak memory of a piece of work, above what was held at its start. Measure in a separate process."""

import ctypes
import gc
import resource
from collections.abc import Callable

import torch


def peak_of(work: Callable[[], object], device: str = "cpu") -> float:
    """Extra peak in MiB: of the GPU's allocator, or resident on the CPU (Linux: the peak is started over first)."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # or memory that was freed, and is kept for later, would not count
    with open(
        "/proc/self/statm"
    ) as file:  # what is resident now: ru_maxrss also counts the peak while torch was loaded
        held = int(file.read().split()[1]) * resource.getpagesize() / 2**20
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # starts the peak over
    work()
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024 - held
