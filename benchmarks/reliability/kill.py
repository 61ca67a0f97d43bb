"""Runs that are killed at random moments and resumed: are they the run that was never killed, to the bit?

python -m benchmarks.reliability.kill                    # 20 kills in each family, then 6 on two ranks
python -m benchmarks.reliability.kill --only vq --kills 5
python -m benchmarks.reliability.kill --ranks 2 --kills 6

Each trial starts a run, sends SIGKILL to it at a moment that is uniform in the time the uncut run took, resumes it from its
last.ckpt (or starts it again, where it had none), and compares the whole last checkpoint of the resumed run with that of the
uncut one: weights, optimisers, schedulers, loops, callbacks, random states, metrics. Every second trial has a checkpoint
after each step; the others have the command line's own, one after each epoch. Every third trial is killed twice. Exit 1 if
any differs.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.reliability._runs import EVERY_STEP, FAMILIES, Started, content, differing

_ON_TWO_RANKS = ("vq", "vae", "routing", "selection", "text", "control")


def _arguments(family: str, number: int) -> list[str]:
    return [*FAMILIES[family], *(EVERY_STEP if number % 2 and family != "design" else [])]


def _last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def _uncut(family: str, number: int, root: Path, ranks: int) -> tuple[float, dict[str, object]]:
    run = root / f"uncut{number % 2}"
    started = Started(["fit", *_arguments(family, number), f"--run_dir={run}"], root / "log.txt", ranks)
    if any(started.wait()):
        raise RuntimeError(f"the uncut run failed: {(root / 'log.txt').read_text()[-2000:]}")
    return started.seconds, content(_last(run))


def trial(
    family: str, number: int, draw: random.Random, root: Path, ranks: int, seconds: float
) -> tuple[str, Path | None]:
    """One killed run. What was there to resume from, and the checkpoint at its end; None if it failed."""
    seen, run = "", None
    for attempt in range(3):
        here = root / f"trial{number}-{attempt}"
        source = None if run is None or not _last(run).exists() else run
        if attempt:
            seen += "checkpoint " if source else "start "
        begin = [f"-c={source}", "--ckpt_path=last"] if source else _arguments(family, number)
        started = Started(["fit", *begin, f"--run_dir={here}"], root / f"log{number}.txt", ranks)
        if attempt == 0 or (attempt == 1 and number % 3 == 0):
            time.sleep(draw.uniform(0, seconds))
            started.kill()
            started.wait()
            run = here if _last(here).exists() or run is None else run
            continue
        codes = started.wait()
        return seen.strip(), None if any(codes) else _last(here)
    return seen, None


def family_trials(family: str, kills: int, ranks: int, seed: int) -> bool:
    """Prints a line; True if all are equal."""
    draw, equal, found = random.Random(f"{family}{seed}"), 0, Counter[str]()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        uncut = [_uncut(family, number, root, ranks) for number in range(min(2, kills))]
        for number in range(kills):
            seconds, whole = uncut[number % len(uncut)]
            seen, last = trial(family, number, draw, root, ranks, seconds)
            found[seen] += 1
            if last is None:
                print(f"  {family} {number}: failed\n{(root / f'log{number}.txt').read_text()[-1500:]}", flush=True)
                continue
            bad = differing(whole, content(last))
            equal += not bad
            if bad:
                print(f"  {family} {number} (resumed from {seen}): {len(bad)} differ: {bad[:5]}", flush=True)
    resumed = ", ".join(f"{name}: {count}" for name, count in sorted(found.items()))
    on = f" on {ranks} ranks" if ranks > 1 else ""
    print(f"{family:10}{on} {equal} of {kills} equal (resumed from {resumed})", flush=True)
    return equal == kills


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=FAMILIES, help="one family")
    parser.add_argument("--kills", type=int, default=None, help="a family: 20, on two ranks 6 in all")
    parser.add_argument("--ranks", type=int, default=None, help="1 or 2; both by default")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    families, good = [given.only] if given.only else list(FAMILIES), True
    if given.ranks in (None, 1):
        for family in families:
            good &= family_trials(family, given.kills or 20, 1, given.seed)
    if given.ranks != 1 and (given.ranks or not given.only):
        on_ranks = [given.only] if given.only else list(_ON_TWO_RANKS)
        each = given.kills or (1 if len(on_ranks) > 1 else 6)
        for family in on_ranks:
            good &= family_trials(family, each, given.ranks or 2, given.seed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
