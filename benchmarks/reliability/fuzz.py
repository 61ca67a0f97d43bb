"""Calls everything that is exported with input drawn at random, valid and not, and checks what comes back.

python -m benchmarks.reliability.fuzz                      # 10,000 cases; exit 1 if one fails
python -m benchmarks.reliability.fuzz --cases 500 --seed 7
python -m benchmarks.reliability.fuzz --only 4711          # one case again, by its number

A case is a function, estimator, loss, layer or metric; a shape (0, 1, several dimensions), a dtype, a layout (contiguous,
transposed, strided, at an offset, expanded), logits of any scale with masked categories, a temperature from 1e-38 to 1e38 (a
number, a 0-dim tensor, one a row), flags. Bar: no crash, no warning; bad input is refused by a ValueError or TypeError in
words; valid input gives no NaN and no infinity, in values and gradients, the documented shape and dtype, the value of a naive
float64 reference, and what every sample must be (on the simplex, 0 and 1, nothing where a category is masked, the right
frequencies).
"""

import argparse
import sys
import time
import warnings
from collections import Counter

import torch

from benchmarks.reliability.fuzz_case import Case, faults
from benchmarks.reliability.fuzz_functions import FUNCTIONS
from benchmarks.reliability.fuzz_inputs import Draw
from benchmarks.reliability.fuzz_losses import LOSSES
from benchmarks.reliability.fuzz_modules import MODULES
from benchmarks.reliability.fuzz_rest import REST

KINDS = [*FUNCTIONS, *LOSSES, *MODULES, *REST]
_SHOWN = 40


def case_of(seed: int, number: int) -> Case:
    """The case of a number."""
    draw = Draw(f"{seed} {number}")
    torch.manual_seed(draw.random.getrandbits(60))
    (make,) = draw.random.choices([make for make, _ in KINDS], [weight for _, weight in KINDS])
    return make(draw)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, failed, invalid = time.monotonic(), 0, 0
    counts: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(options.cases) if options.only is None else [options.only]:
            case = case_of(options.seed, number)
            found = faults(case)
            counts[case.what.partition("(")[0].split()[0].partition(".")[0]] += 1
            invalid += case.valid is False
            failed += bool(found)
            if found and failed <= _SHOWN:
                print(f"case {number}: {case.what}: {'; '.join(found)}", flush=True)
            elif options.only is not None:
                print(f"case {number}: {case.what}: {found or 'as it should be'}")
    seconds = time.monotonic() - start
    print(
        f"{sum(counts.values())} cases of {len(counts)} things in {seconds:.0f} s, {invalid} of bad input: {failed} failures"
    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
