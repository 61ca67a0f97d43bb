"""Keyed noise: equal on ranks and after a resume, its cost, and how random it is.

python -m benchmarks.reliability.keyed_noise          # exit 1 if a bar is missed; 10 minutes, on two cores
python -m benchmarks.reliability.keyed_noise --quick  # fewer words, and dieharder's two shortest tests

Bars: fits of vq, residual vq, vae and routing on 2 and 4 ranks and in one process draw the same to the bit, and their weights
agree to rounding; a fit that is resumed, in the middle of an epoch and between two, draws what the uncut one does; an integer
of 32 bits costs at most 4.4 ns on one core (of the processor's time, the median of turns with torch's own); no test of
randomness has a p-value below 1e-6 (about 200 of them: a false alarm once in 5,000 runs).
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.reliability._randomness import DIEHARDER, TESTS, Words, dieharder
from discrete_lightning.functional._keyed import KeyedGenerator
from discrete_lightning.functional._keyed_words import GAMMA, KeyedWords, mix, signed

# the fits are those of the tests, which are not type-checked
ranks_of_tests, fits, resumes = (
    import_module(f"tests.{name}") for name in ("ranks", "training.keyed_fits", "training.test_keyed_noise")
)

_BAR, _LEAST = 4.4, 1e-6
_FAMILIES = ("vq", "residual vq", "vae", "routing")


def ranks_agree(quick: bool) -> bool:
    """One process against 2 and 4; quick: against 2."""
    starts = {name: fits.fit(name).weights for name in _FAMILIES}
    whole = {name: fits.fit(name, start=start) for name, start in starts.items()}
    right = True
    for ranks in (2,) if quick else (2, 4):
        found = ranks_of_tests.run_on_ranks(fits.fit_on_ranks, fits.free_port(), starts, ranks, ranks=ranks)
        for name, expected in whole.items():
            drawn = [each[name].draws for each in found]
            equal = sum(
                torch.equal(fits.together([each[i] for each in drawn]), one) for i, one in enumerate(expected.draws)
            )
            off = max(
                float(
                    (each[name].weights[key].double() - one.double()).abs().max()
                    / one.double().abs().max().clamp_min(1e-3)
                )
                for each in found
                for key, one in expected.weights.items()
            )
            right &= equal == len(expected.draws) and off < 1e-3
            print(
                f"{name:12} {ranks} ranks = 1 process: {equal} of {len(expected.draws)} draws equal to the bit, weights "
                f"after {len(expected.draws)} draws off by {off:.0e}",
                flush=True,
            )
    return right


def resumes_agree() -> bool:
    """After each batch, without the state of a generator."""
    whole, right = resumes.noisy(), 0
    with tempfile.TemporaryDirectory() as folder:
        for batches in range(1, 6):
            path = Path(folder) / f"{batches}.ckpt"
            noise = [*resumes.noisy(resumes.Stop(path, batches)).noise[:batches], *resumes.noisy(path=path).noise]
            right += all(torch.equal(a, b) for a, b in zip(noise, whole.noise, strict=True))
    print(f"resumed after batch 1 to 5 of 6: {right} of 5 draw on as the uncut fit", flush=True)
    return right == 5


def costs() -> bool:
    """Nanoseconds an element, of the processor's time on one core."""
    torch.set_num_threads(1)
    count, block = 1 << 22, 1 << 18
    out, bits = torch.empty(count), torch.empty(count // 2, dtype=torch.int64)

    def keyed(inner: int) -> Callable[[], object]:
        words = KeyedWords(torch.randint(2**62, (2, count // inner)), inner)
        part = out[: count // inner * inner]
        return lambda: [words.fill_(part[start : start + block], start) for start in range(0, len(part), block)]

    contestants: dict[str, Callable[[], object]] = {
        "keyed, 32,768 an example": keyed(1 << 15),
        "keyed, 1,024 an example": keyed(1 << 10),
        "keyed, 200 an example": keyed(200),
        "keyed, 10 an example": keyed(10),
        "random_ of 64 bits, two elements": lambda: bits.random_(-(2**63), None),
        "random_ of 32 bits": lambda: bits.view(torch.int32).random_(),
        "exponential_": lambda: out.exponential_(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(11):
        for name, run in contestants.items():
            start = time.thread_time()
            run()
            if number >= 2:
                seconds[name].append(time.thread_time() - start)
    found = {name: statistics.median(each) / count * 1e9 for name, each in seconds.items()}
    for name, each in found.items():
        print(f"{name:34} {each:6.2f} ns an element", flush=True)
    return found["keyed, 1,024 an example"] <= _BAR and found["keyed, 32,768 an example"] <= _BAR


def _of(call: Tensor, examples: Tensor, inner: int) -> Words:
    """The first words of rows: of each call (N, 1) with one example, or of one call with each example."""
    words = KeyedGenerator(call, examples).words((len(examples), 2 * inner), 1, torch.device("cpu"))
    words = words._replace(inner=inner)
    # all 64 bits, which are two integers of 32
    halves = KeyedWords(words.keys, 2 * inner)
    out = torch.empty(2 * inner * words.keys.shape[1], dtype=torch.int32)
    return halves.fill_(out, 0).numpy().view(np.uint64)


def _step_keys(steps: Tensor) -> Tensor:
    """The key of the first call of each step: see `key_of` and `Keys.call`."""
    return mix(mix(mix(torch.tensor(7)) + (steps + 1) * signed(GAMMA)) + signed(GAMMA))


def streams(count: int, block: int = 0) -> dict[str, Callable[[], Words]]:
    """Words that follow each other in one coordinate, the others held."""
    one, number = torch.zeros(1, dtype=torch.int64), torch.arange(count) + block * count
    key = _step_keys(one)[0]
    calls = mix(mix(mix(torch.tensor(7)) + signed(GAMMA)) + (number + 1) * signed(GAMMA))
    seeds = mix(mix(mix(number) + signed(GAMMA)) + signed(GAMMA))
    return {
        "elements of an example": lambda: _of(key, one + block, count),
        "examples": lambda: _of(key, number, 1),
        "examples, 8 words each": lambda: _of(key, number[: count // 8], 8),
        "calls": lambda: _of(calls.unsqueeze(1), one, 1),
        "steps": lambda: _of(_step_keys(number).unsqueeze(1), one, 1),
        "seeds": lambda: _of(seeds.unsqueeze(1), one, 1),
    }


def is_random(quick: bool) -> bool:
    """The battery, of each stream; and dieharder, where it is installed, of two."""
    right, size = True, 1 << (18 if quick else 22)
    for name, make in streams(size).items():
        words = make()
        for test, run in TESTS.items():
            p = run(words)
            right &= min(p) >= _LEAST
            print(f"{name:24} {test:12} {len(p)} p-values, the least {min(p):.1e}", flush=True)
    for name in ("elements of an example", "examples"):
        results = dieharder(
            lambda block, name=name: streams(1 << 18, block)[name](),  # type: ignore[misc]
            [0, 100] if quick else list(DIEHARDER),
        )
        p = [each for _, each in results]
        if p:
            right &= min(p) >= _LEAST
            print(f"{name:24} dieharder    {len(p)} p-values, the least {min(p):.1e}", flush=True)
        else:
            print("dieharder is not installed: left out", flush=True)
    return right


PARTS: dict[str, Callable[[bool], bool]] = {
    "randomness": is_random,
    "cost": lambda _: costs(),
    "resume": lambda _: resumes_agree(),
    "ranks": ranks_agree,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    warnings.simplefilter("ignore")
    options = parser.parse_args()
    missed = [name for name in options.only if not PARTS[name](options.quick)]
    print("missed: " + ", ".join(missed) if missed else "all bars reached")
    sys.exit(bool(missed))
