"""What happens to a fit when a rank dies or gets a signal, by three launchers, and whether it goes on exactly.

python -m benchmarks.reliability.ranks           # prints the table; exit 1 if the bar is missed; some minutes
python -m benchmarks.reliability.ranks --only ddp

Bars. A rank that dies: all others end in under 60 s, no process is left, one line says which rank and why. A signal to one
rank: all ranks save at one batch and end with the signal's exit code, and the resumed run ends, to the bit, as the run that
was not cut.
`torchrun --max-restarts`: likewise, in the same folder, without a command.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.reliability.launches import LAUNCHERS, ROOT, Launched, launch

Uncut = Callable[[int], dict[str, Any]]  # the last checkpoint of a run on so many ranks that was not cut
_LONGEST = 60.0
_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 75}
_CAUSES = {"kill -9": "ended by SIGKILL", "exception": "rank 1: ZeroDivisionError", "exit": "ended with exit code 3"}


def final(folder: Path) -> dict[str, Any]:
    """The last checkpoint of the newest run."""
    paths = sorted(folder.glob("runs/*/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    return torch.load(paths[-1], weights_only=True)


def is_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether weights and the optimiser's state are equal to the bit."""
    return one["global_step"] == other["global_step"] and all(
        _digest(one[key]) == _digest(other[key]) for key in ("state_dict", "optimizer_states")
    )


def _digest(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return str(value.double().tolist())
    if isinstance(value, dict):
        return str({str(key): _digest(each) for key, each in value.items()})
    return str([_digest(each) for each in value]) if isinstance(value, list | tuple) else str(value)


def dead_rank(launcher: str, cause: str, folder: Path) -> tuple[bool, str]:
    """Ends rank 1 in the middle of the training."""
    failure = {"exception": "error", "exit": "exit"}.get(cause, "")
    options = ["--model.pause=0.1", "--model.mark=2", f"--model.failure={failure}", "--model.fail_at=3"]
    run = launch(launcher, folder, *options)
    run.wait_for("step")
    start = time.monotonic()
    if cause == "kill -9":
        os.kill(run.pid(1), signal.SIGKILL)
    code, text = run.end()
    seconds, orphans = time.monotonic() - start, run.orphans(1.0)
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    told = len(lines) == 1 and _CAUSES[cause] in lines[0] and "rank 1" in lines[0]
    good = seconds < _LONGEST and not orphans and told and code != 0
    return good, f"{seconds:4.1f} s, {len(orphans)} left, {len(lines)} line, {len(text):,} bytes"


def signalled(launcher: str, number: signal.Signals, ranks: int, uncut: Uncut, folder: Path) -> tuple[bool, str]:
    """Sends a signal to the last rank, and resumes."""
    run = launch(launcher, folder, "--model.pause=0.1", "--model.mark=3", ranks=ranks)
    run.wait_for("step")
    os.kill(run.pid(ranks - 1), number)
    code, text = run.end()
    step = final(folder)["global_step"]
    resume = text.partition("resume with: discrete-lightning ")[2].splitlines()[0].split()
    done = subprocess.run(
        [sys.executable, "-m", "discrete_lightning.cli", *resume, "--model.pause=0"], cwd=folder, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    equal = done.returncode == 0 and is_equal(final(folder), uncut(ranks))
    expected = 1 if launcher == "torchrun" else _CODES[number]  # torchrun's own code; it names that of the rank
    return (
        code == expected and equal,
        f"exit code {code}, saved at step {step}, resumed {'equal' if equal else 'DIFFERENT'}",
    )


def restarted(cause: str, uncut: Uncut, folder: Path) -> tuple[bool, str]:
    """Ends rank 1 in the second epoch and lets torchrun start the ranks again."""
    failure = {"exception": "error", "exit": "exit", "kill -9": ""}[cause]
    options = ["--model.mark=11", "--model.pause=0.05", f"--model.failure={failure}", "--model.fail_at=12"]
    run = launch("torchrun", folder, *options, before=("--max-restarts=2",))
    run.wait_for("step")
    if cause == "kill -9":
        os.kill(run.pid(1), signal.SIGKILL)
    code, text = run.end(180.0)
    folders = len(list(folder.glob("runs/*/*")))
    equal = code == 0 and is_equal(final(folder), uncut(2))
    said = "goes on in" in text and "from last.ckpt" in text
    return equal and folders == 1 and said, f"{'equal' if equal else 'DIFFERENT'}, {folders} folder, exit code {code}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="cases with this in their name")
    only, failed, count = parser.parse_args().only, 0, 0
    wholes: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as root:

        def uncut(ranks: int) -> dict[str, Any]:
            if ranks not in wholes:
                run: Launched = launch("ddp", Path(root) / f"whole-{ranks}", ranks=ranks)
                run.end(180.0)
                wholes[ranks] = final(run.folder)
            return wholes[ranks]

        cases: dict[str, Callable[[Path], tuple[bool, str]]] = {}
        for launcher in LAUNCHERS:
            for cause in _CAUSES:
                cases[f"{launcher}, rank 1 of 2: {cause}"] = partial(dead_rank, launcher, cause)
        for number in _CODES:
            cases[f"1 rank, {number.name}"] = partial(signalled, "ddp", number, 1, uncut)
            cases[f"ddp, {number.name} to rank 1 of 2"] = partial(signalled, "ddp", number, 2, uncut)
        for launcher in LAUNCHERS[1:]:
            name = f"{launcher}, SIGTERM to rank 1 of 2"
            cases[name] = partial(signalled, launcher, signal.SIGTERM, 2, uncut)
        for cause in _CAUSES:
            cases[f"torchrun --max-restarts, {cause}"] = partial(restarted, cause, uncut)
        for name, case in cases.items():
            if only not in name:
                continue
            try:
                good, said = case(Path(root) / str(count))
            except (RuntimeError, subprocess.TimeoutExpired, IndexError) as error:
                good, said = False, " ".join(str(error).split())[-200:]
            count, failed = count + 1, failed + (not good)
            print(f"{'ok  ' if good else 'FAIL'} {name:42s} {said}", flush=True)
    print(f"{count - failed} of {count}")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
