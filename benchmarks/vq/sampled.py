"""What a sampled codebook costs: a training step of the quantiser alone, and its peak memory.

python -m benchmarks.vq.sampled [--codes 256 1024 8192] [--rounds 21] [--threads 1]

6,272 vectors of 64 dimensions: forward, backward, Adam's step on the quantiser, and the update after it. Contestants take
turns: GumbelQuantizer with no flag, LinearGumbelQuantizer, and the latter's formula as torch alone computes it:
`gumbel_softmax(linear(x), tau, hard=True) @ codes`. Memory is the extra peak of three steps in a process each, also in units of
N K float32 numbers.

Bars: at 256 and 1,024 codes at most 1.3 times the time of torch alone, and 2 N K held, beside what grows with N D and K D.
"""

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks._memory import peak_of
from benchmarks._timing import device_name, interleaved, milliseconds, ratio
from discrete_lightning.nn import GumbelQuantizer, LinearGumbelQuantizer

VECTORS, DIM = 6272, 64


class Torch(nn.Module):
    """The formula, with all logits and samples held."""

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.to_logits = nn.Linear(DIM, codes)
        self.codes = nn.Parameter(torch.randn(codes, DIM))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gumbel_softmax(self.to_logits(x), tau=1.0, hard=True) @ self.codes


MAKERS: dict[str, Callable[[int], nn.Module]] = {
    "torch": Torch,
    "GumbelQuantizer": lambda codes: GumbelQuantizer(codes, DIM),
    "LinearGumbelQuantizer": lambda codes: LinearGumbelQuantizer(codes, DIM),
}


def stepper(quantizer: nn.Module, vectors: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(quantizer.parameters(), 1e-3)

    def step() -> None:
        vectors.grad = None
        result = quantizer(vectors)
        loss = result.sum() if isinstance(result, Tensor) else result.quantized.sum() + result.loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measure(name: str, codes: int) -> None:
    """Prints the extra peak in MiB in this process, once the quantiser has started."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    step = stepper(MAKERS[name](codes), torch.randn(VECTORS, DIM, requires_grad=True))
    step()
    print(peak_of(lambda: [step() for _ in range(3)]))


def in_a_process(name: str, codes: int) -> float:
    code = f"from benchmarks.vq.sampled import measure; measure({name!r}, {codes})"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, nargs="+", default=[256, 1024, 8192])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"a training step of the quantiser alone, {VECTORS:,} x {DIM}, {device_name('cpu')}")
    for codes in arguments.codes:
        torch.manual_seed(0)
        vectors = torch.randn(VECTORS, DIM, requires_grad=True)
        times = interleaved(
            {name: stepper(make(codes), vectors) for name, make in MAKERS.items()}, arguments.rounds, "cpu"
        )
        for name in MAKERS:
            peak = in_a_process(name, codes)
            print(
                f"{codes:>6} codes  {name:<22}{milliseconds(times[name]):>8.1f} ms   {ratio(times[name], times['torch']):.2f} "
                f"times torch's   peak {peak:6.0f} MiB, {peak * 2**18 / (VECTORS * codes):.1f} N K",
                flush=True,
            )


if __name__ == "__main__":
    main()
