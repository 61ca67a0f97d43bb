"""Truncated draws against softmax and torch.multinomial, and against the logits processors of transformers if installed.

    python -m benchmarks.text.sampling [--threads 1] [--rounds 21]

Logits are normal with a deviation of 3, the entropy of a draw is printed. Contestants take turns; a figure is the median over
rounds of the ratio to softmax and multinomial in the same round. Bar: at most 1.3. On one row of 2,048 words, where torch
takes .06 ms, the time is that of calling some twenty small operations, and the bar is missed.
"""

import argparse
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks._timing import device_name, interleaved, milliseconds, ratio
from discrete_lightning.functional import categorical, entropy, gumbel_max, truncate_logits

SHAPES = [(1, 2048), (64, 2048), (1, 50_000), (16, 50_000)]
SETTINGS: list[dict[str, float]] = [
    {"temperature": 0.8},
    {"temperature": 0.8, "top_k": 50},
    {"temperature": 0.8, "top_k": 1000},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 0.8, "min_p": 0.05},
    {"temperature": 0.8, "top_k": 200, "top_p": 0.9, "min_p": 0.05},
]


def plain(logits: Tensor) -> Tensor:
    """No truncation: torch's own draw."""
    return torch.multinomial((logits / 0.8).softmax(-1), 1)


def ours(logits: Tensor, **limits: Any) -> Tensor:
    """Truncated, then drawn by the faster of two exact ways."""
    truncated = truncate_logits(logits, **limits)
    return gumbel_max(truncated) if truncated.numel() < 1 << 14 else categorical(truncated.softmax(-1))


def transformers_draw(limits: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """The same masks by transformers, then torch's draw, as its `generate` does."""
    from transformers.generation import logits_process

    makers = {
        "temperature": logits_process.TemperatureLogitsWarper,
        "top_k": logits_process.TopKLogitsWarper,
        "top_p": logits_process.TopPLogitsWarper,
        "min_p": logits_process.MinPLogitsWarper,
    }
    processors = [makers[name](value) for name, value in limits.items()]

    def draw(logits: Tensor) -> Tensor:
        for processor in processors:
            logits = processor(None, logits)
        return torch.multinomial(logits.softmax(-1), 1)

    return draw


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    has_peer = find_spec("transformers") is not None
    print(f"{device_name('cpu')}, torch {torch.__version__}; time over softmax and multinomial")
    for rows, size in SHAPES:
        logits = 3 * torch.randn(rows, size, generator=torch.Generator().manual_seed(0))
        contestants: dict[str, Callable[[], object]] = {"plain": partial(plain, logits)}
        for number, limits in enumerate(SETTINGS):
            contestants[f"ours {number}"] = partial(ours, logits, **limits)
            if has_peer:
                contestants[f"transformers {number}"] = partial(transformers_draw(limits), logits)
        with torch.inference_mode():
            seconds = interleaved(contestants, arguments.rounds, "cpu")
        nats = float(entropy(logits / 0.8).mean())
        print(f"{rows} x {size:,}, {nats:.1f} nats: softmax and multinomial {milliseconds(seconds['plain']):.2f} ms")
        for number, limits in enumerate(SETTINGS):
            name = ", ".join(f"{key} {value:g}" for key, value in limits.items())
            line = f"  {name:52}ours {ratio(seconds[f'ours {number}'], seconds['plain']):5.2f}"
            if has_peer:
                line += f"   transformers {ratio(seconds[f'transformers {number}'], seconds['plain']):5.2f}"
            print(line)
    if not has_peer:
        print("transformers: not installed")


if __name__ == "__main__":
    main()
