"""Memory of training through sampled words: one unroll and its backward pass, against torch's Gumbel-softmax.

python -m benchmarks.text.unroll_memory

64 words of 16 lines over V = 8,000 words, rows of D = 128 numbers, a GRU. Peak above what was held at the start, one process a
way. The peer draws `gumbel_softmax(logits, hard=True) @ table` at each step, as a training loop would write it. Bar: at most
.25 of its peak, and with the same noise a gradient that is equal to 1e-5 of its largest entry (checked in this run against the
peer's loop with our noise in it). Seconds are of this allocator setting; the default one is faster for both.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import torch
from torch import Tensor, nn

from benchmarks._memory import peak_of
from discrete_lightning.estimators import (
    Estimator,
    GumbelRao,
    GumbelSoftmax,
    ReinMax,
    StraightThrough,
    StraightThroughGumbel,
)
from discrete_lightning.functional import exponential_noise
from discrete_lightning.functional._random import draw_seed, numbered_seed
from discrete_lightning.text import GRUNetwork, TokenChoice, relaxed_unroll

WORDS, LINES, V, D, TAU, BAR = 64, 16, 8000, 128, 0.7, 0.25
SEED = 3
WAYS: dict[str, tuple[Estimator, int | None]] = {
    "StraightThroughGumbel": (StraightThroughGumbel(), None),
    "GumbelSoftmax": (GumbelSoftmax(), None),
    "StraightThrough": (StraightThrough(), None),
    "ReinMax": (ReinMax(), None),
    "GumbelRao": (GumbelRao(), None),
    "StraightThroughGumbel, through_last 0": (StraightThroughGumbel(), 0),
    "StraightThrough, through_last 0": (StraightThrough(), 0),
}
# memory that is freed returns to the system at once, so that the peak is what was in use, whatever was kept for later
_RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
PEER = "gumbel_softmax(hard=True) @ table"


def network() -> GRUNetwork:
    torch.manual_seed(0)
    return GRUNetwork(V, dim=D, hidden_dim=D)


def prompt() -> Tensor:
    return torch.zeros(LINES, 1, dtype=torch.int64)


def loss_of(rows: Tensor) -> Tensor:
    """Depends on each row, as a judge's score does."""
    weights = torch.linspace(-1, 1, WORDS * D).view(WORDS, D)
    return (torch.tanh(10 * rows) * weights).sum(2).mean()


def ours(model: GRUNetwork, way: str) -> Tensor:
    estimator, last = WAYS[way]
    choice = TokenChoice(estimator, TAU)
    generator = torch.Generator().manual_seed(SEED)
    return relaxed_unroll(model, choice, prompt(), WORDS, through_last=last, generator=generator).rows


def peer(model: GRUNetwork, same_noise: bool = False) -> Tensor:
    rows, cache, found = model.embedding.look_up(prompt()), None, []
    seed = int(draw_seed(torch.Generator().manual_seed(SEED)))
    for t in range(WORDS):
        hidden, cache = model.hidden(rows, cache)
        logits = model.head(hidden[:, -1])
        if same_noise:
            generator = torch.Generator().manual_seed(numbered_seed(numbered_seed(seed, t), 0))
            noise = exponential_noise(logits.shape, generator=generator).log()
            soft = torch.softmax((logits - noise) / TAU, -1)
            sample = nn.functional.one_hot(soft.argmax(-1), V) - soft.detach() + soft
        else:
            sample = nn.functional.gumbel_softmax(logits, TAU, hard=True)
        rows = (sample @ model.embedding.weight).unsqueeze(1)
        found.append(rows)
    return torch.cat(found, 1)


def measure(way: str) -> None:
    """Prints the peak in MiB and the seconds of one unroll and backward pass, after one that warms up."""
    model = network()

    def work() -> None:
        rows = peer(model) if way == PEER else ours(model, way)
        loss_of(rows).backward()

    work()
    model.zero_grad(set_to_none=False)
    peak = peak_of(work)
    start = time.perf_counter()
    work()
    print(json.dumps({"peak": peak, "seconds": time.perf_counter() - start}))


def difference() -> float:
    """The largest difference of a gradient to the peer's with the same noise, over the largest entry of that gradient."""
    model, worst = network(), 0.0
    gradients = [
        torch.autograd.grad(loss_of(rows), list(model.parameters()))
        for rows in (ours(model, "StraightThroughGumbel"), peer(model, same_noise=True))
    ]
    for mine, theirs in zip(*gradients, strict=True):
        worst = max(worst, float((mine - theirs).abs().max() / theirs.abs().max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", nargs="?", help=argparse.SUPPRESS)  # measured in this process
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    arguments = parser.parse_args()
    if arguments.way:
        measure(arguments.way)
        return
    print(f"{WORDS} words of {LINES} lines, V = {V:,}, D = {D}, one thread: forward and backward")
    print(f"{'':42}{'peak MiB':>10}{'of peer':>9}{'seconds':>9}")
    base = 0.0
    for way in (PEER, *arguments.ways):
        command = [sys.executable, "-m", "benchmarks.text.unroll_memory", way]
        found = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | _RETURNED).stdout
        )
        base = base or found["peak"]
        print(f"{way:42}{found['peak']:10.1f}{found['peak'] / base:9.3f}{found['seconds']:9.2f}", flush=True)
    print(f"bar: at most {BAR}")
    print(
        f"largest difference of StraightThroughGumbel's gradient, as a share of the largest entry: {difference():.1e}"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
