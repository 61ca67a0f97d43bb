"""Cost of each estimator: forward + backward as a ratio to torch's gumbel_softmax(hard=True) on the same logits, in one run.

python -m benchmarks.estimators [--device cuda]

On the CPU in three cases: alone on its cores, with one thread, and beside a process that keeps one core busy (started and
stopped here). Bars (8,192 x 512, float32, 2 threads, alone, with backward): StraightThroughGumbel <= 0.3; StraightThrough,
ReinMax and GappedStraightThrough <= 0.15; GumbelRao(10) <= 2.5, and its peak memory at most 3 times that of GumbelRao(1).
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks._memory import peak_of
from benchmarks._timing import cases, device_name, interleaved, milliseconds
from discrete_lightning.estimators import (
    IMLE,
    Estimator,
    GappedStraightThrough,
    GumbelRao,
    GumbelSoftmax,
    ReDGE,
    ReinMax,
    ReinMaxCV,
    ReinMaxRao,
    StraightThrough,
    StraightThroughGumbel,
)

ESTIMATORS: dict[str, tuple[Estimator, float | None]] = {
    "GumbelSoftmax": (GumbelSoftmax(), None),
    "StraightThroughGumbel": (StraightThroughGumbel(), 0.3),
    "StraightThrough": (StraightThrough(), 0.15),
    "ReinMax": (ReinMax(), 0.15),
    "GappedStraightThrough": (GappedStraightThrough(), 0.15),
    "GumbelRao(10)": (GumbelRao(10), 2.5),
    "ReinMaxRao(10)": (ReinMaxRao(10), None),
    "ReinMaxCV(10)": (ReinMaxCV(10), None),
    "ReDGE(2)": (ReDGE(2), None),
    "IMLE(10)": (IMLE(10), None),
}
ROWS, CATEGORIES = 8192, 512


def peak_memory(samples: int) -> float:
    """Peak resident MiB above the start of one forward + backward of GumbelRao(samples), in a separate process."""
    code = f"from benchmarks.estimators import _measure_peak; _measure_peak({samples})"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def _measure_peak(samples: int) -> None:
    logits = torch.randn(ROWS, CATEGORIES, requires_grad=True)
    weights = torch.randn(ROWS, CATEGORIES)
    print(peak_of(lambda: GumbelRao(samples)(logits).backward(weights)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    logits = torch.randn(ROWS, CATEGORIES, device=arguments.device, requires_grad=True)
    weights = torch.randn(ROWS, CATEGORIES, device=arguments.device)

    def torch_sample(x: Tensor) -> Tensor:
        return torch.nn.functional.gumbel_softmax(x, hard=True)

    def forward(sample: Callable[[Tensor], Tensor]) -> None:
        with torch.no_grad():
            sample(logits)

    def both(sample: Callable[[Tensor], Tensor]) -> None:
        logits.grad = None
        sample(logits).backward(weights)

    samplers: dict[str, Callable[[Tensor], Tensor]] = {"torch": torch_sample}
    samplers |= {name: estimator for name, (estimator, _) in ESTIMATORS.items()}
    print(f"{ROWS:,} x {CATEGORIES} float32, {device_name(arguments.device)}; ratio to torch gumbel_softmax(hard=True)")
    for case in cases(arguments.threads) if arguments.device == "cpu" else [arguments.device]:
        columns = [
            interleaved(
                {name: partial(run, sample) for name, sample in samplers.items()}, arguments.rounds, arguments.device
            )
            for run in (forward, both)
        ]
        print(f"{case:34}{'forward':>20}{'with backward':>20}")
        for name in samplers:
            bar = ESTIMATORS[name][1] if name in ESTIMATORS else None
            figures = "".join(
                f"{milliseconds(times[name]):>8.1f} ms{milliseconds(times[name]) / milliseconds(times['torch']):>9.3f}"
                for times in columns
            )
            print(f"  {name:32}{figures}" + (f"   (bar {bar} with backward, idle)" if bar else ""))
    if arguments.device == "cpu":
        one, ten = peak_memory(1), peak_memory(10)
        print(f"peak memory of GumbelRao(10): {ten:.0f} MiB, {ten / one:.2f} times that of GumbelRao(1)   (bar 3)")


if __name__ == "__main__":
    main()
