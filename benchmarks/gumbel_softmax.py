"""Gumbel-softmax against torch.nn.functional.gumbel_softmax: forward, and forward + backward, in one run.

python -m benchmarks.gumbel_softmax [--device cuda] [--compile]

Bars on the CPU (8,192 x 512, float32, 2 threads): forward at least 4 times, forward + backward at least 3.5 times as fast.
On a GPU, compiled: no slower.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks._timing import device_name, interleaved, milliseconds, ratio
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
    torch.set_num_threads(arguments.threads)
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
    print(f"{'':32}{'torch':>10}{'ours':>10}{'speed-up':>10}")
    for hard in (False, True):
        for label, run in (("forward", forward), ("forward + backward", both)):
            contestants = {name: partial(run, sampler, hard) for name, sampler in samplers.items()}
            times = interleaved(contestants, arguments.rounds, device)
            name = f"{'hard' if hard else 'soft'}, {label}"
            print(
                f"{name:32}{milliseconds(times['torch']):>7.1f} ms{milliseconds(times['ours']):>7.1f} ms"
                f"{ratio(times['torch'], times['ours']):>9.2f}x"
            )


if __name__ == "__main__":
    main()
