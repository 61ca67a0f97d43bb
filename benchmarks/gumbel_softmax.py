"""Gumbel-softmax against torch.nn.functional.gumbel_softmax: forward, and forward + backward, in one run.

python -m benchmarks.gumbel_softmax [--device cuda] [--compile]

On the CPU in three cases: alone on its cores, with one thread, and beside a process that keeps one core busy (started and
stopped here). Bars (8,192 x 512, float32, 2 cores): forward at least 6, 4.5 and 3 times as fast; forward + backward alone at
least 3.5 times. On a GPU, compiled: no slower.

On one thread two fifths of the time are random integers and two logarithms. Blocks smaller than 2^18 elements were no faster,
since each operation then costs as much to call as to do.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks._timing import cases, device_name, interleaved, milliseconds, ratio
from discrete_lightning.functional import gumbel_softmax

Sampler = Callable[..., Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="compile both sides (the bar on a GPU)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shape", type=int, nargs=2, default=(8192, 512))
    arguments = parser.parse_args()
    device = arguments.device

    logits = torch.randn(*arguments.shape, device=device, requires_grad=True)
    weights = torch.randn(*arguments.shape, device=device)
    samplers: dict[str, Sampler] = {"ours": gumbel_softmax, "torch": torch.nn.functional.gumbel_softmax}
    if arguments.compile:
        samplers = {name: torch.compile(sampler) for name, sampler in samplers.items()}

    def forward(sampler: Sampler, hard: bool) -> Tensor:
        with torch.no_grad():
            return sampler(logits, 0.7, hard=hard)

    def both(sampler: Sampler, hard: bool) -> None:
        logits.grad = None
        (sampler(logits, 0.7, hard=hard) * weights).sum().backward()

    print(
        f"{arguments.shape[0]:,} x {arguments.shape[1]} float32, {device_name(device)}, compiled: {arguments.compile}"
    )
    for case in cases(arguments.threads) if device == "cpu" else [device]:
        print(f"{case:32}{'torch':>10}{'ours':>10}{'speed-up':>10}")
        for hard in (False, True):
            for label, run in (("forward", forward), ("forward + backward", both)):
                contestants = {name: partial(run, sampler, hard) for name, sampler in samplers.items()}
                times = interleaved(contestants, arguments.rounds, device)
                name = f"{'hard' if hard else 'soft'}, {label}"
                print(
                    f"  {name:30}{milliseconds(times['torch']):>7.1f} ms{milliseconds(times['ours']):>7.1f} ms"
                    f"{ratio(times['torch'], times['ours']):>9.2f}x"
                )


if __name__ == "__main__":
    main()
