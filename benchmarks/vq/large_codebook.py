"""A large Gumbel codebook in bounded memory: gumbel_lookup against gumbel_softmax(hard=True) @ codes.

python -m benchmarks.vq.large_codebook [--device cuda] [--huge]

N = K = 8,192, D = 64: vectors to logits, a straight-through sample, codes; forward + backward to vectors, weights and
codes. Bars: extra peak memory at most a quarter, at no more than 1.1 times the time. `--huge`: N = K = 65,536, within 2 GB
(a minute or two on a CPU). Each peak is measured in a separate process.
"""

import argparse
import subprocess
import sys
import time
from functools import partial

import torch
from torch import Tensor

from benchmarks._memory import peak_of
from benchmarks._timing import device_name, interleaved, milliseconds, ratio
from discrete_lightning.functional import gumbel_lookup

DIM = 64


def inputs(count: int, device: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = [(count, DIM), (count, DIM), (count,), (count, DIM)]
    return [torch.randn(shape, generator=generator).mul_(0.3).to(device).requires_grad_() for shape in shapes]


def dense(x: Tensor, weight: Tensor, bias: Tensor, codes: Tensor) -> Tensor:
    logits = torch.nn.functional.linear(x, weight, bias)
    return torch.nn.functional.gumbel_softmax(logits, tau=1.0, hard=True) @ codes


def ours(x: Tensor, weight: Tensor, bias: Tensor, codes: Tensor) -> Tensor:
    return gumbel_lookup(x, weight, bias, codes, 1.0).quantized


WAYS = {"dense": dense, "ours": ours}


def step(name: str, tensors: list[Tensor]) -> None:
    for each in tensors:
        each.grad = None
    WAYS[name](*tensors).sum().backward()


def measure(name: str, count: int, device: str) -> None:
    """Prints the extra peak in MiB, and the seconds, of one step in this process."""
    tensors = inputs(count, device)
    start = time.perf_counter()
    peak = peak_of(lambda: step(name, tensors), device)
    print(peak, time.perf_counter() - start)


def in_a_process(name: str, count: int, device: str) -> tuple[float, float]:
    code = f"from benchmarks.vq.large_codebook import measure; measure({name!r}, {count}, {device!r})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, seconds = result.stdout.split()
    return float(peak), float(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--huge", action="store_true")
    arguments = parser.parse_args()
    print(f"straight-through Gumbel look-up, forward + backward, D = {DIM}, {device_name(arguments.device)}")
    peaks = {name: in_a_process(name, 8192, arguments.device)[0] for name in WAYS}
    tensors = inputs(8192, arguments.device)
    contestants = {name: partial(step, name, tensors) for name in WAYS}
    times = interleaved(contestants, arguments.rounds, arguments.device)
    for name in WAYS:
        print(f"N = K = 8,192   {name:<6}{milliseconds(times[name]):>9.0f} ms   extra peak {peaks[name]:7.0f} MiB")
    time_ratio, memory_ratio = ratio(times["ours"], times["dense"]), peaks["ours"] / peaks["dense"]
    print(f"ours / dense: time {time_ratio:.2f} (bar 1.1), memory {memory_ratio:.3f} (bar 0.25)")
    if arguments.huge:
        peak, seconds = in_a_process("ours", 65_536, arguments.device)
        print(f"N = K = 65,536  ours  {seconds * 1e3:>9.0f} ms   extra peak {peak:7.0f} MiB (bar 2,000)")


if __name__ == "__main__":
    main()
