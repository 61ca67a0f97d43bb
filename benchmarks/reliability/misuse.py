"""Wrong and odd command lines, files and configs of every family, and what the command line answers to each.

python -m benchmarks.reliability.misuse            # prints the table; exit 1 if the bar is missed
python -m benchmarks.reliability.misuse --only vq  # the cases whose name has "vq" in it

Bar: no traceback, no value taken in silence, no file lost. A case passes if the command fails with one line on stderr,
`error: ...`, of at most 700 characters, that has the expected words in it; where the mistake is in a user's own code, their
lines may stand above it; and if every file that was there before is there after, unchanged.
"""

import argparse
import contextlib
import hashlib
import io
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import torch

from benchmarks.reliability.misuse_cases import Case, all_cases, write_files
from discrete_lightning.cli import main as discrete_lightning

_LONGEST = 700


def judge(case: Case, folder: Path) -> tuple[str, str]:
    """Runs a case in `folder`; its verdict ("ok", "traceback", "silent", "riddle", "lost"), and the last line of its answer."""
    before = _contents(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = discrete_lightning(list(case.arguments))
        except BaseException as error:
            return "traceback", f"{type(error).__name__}: {error}"
    after = _contents(folder)
    lines = err.getvalue().strip().splitlines()
    said = lines[-1] if lines else ""
    if any(after.get(path) != content for path, content in before.items()):
        return "lost", said
    if "Traceback (most recent call last)" in err.getvalue():
        return "traceback", said
    if code == 0:
        return "silent", said
    one_line = said.startswith("error: ") and len(said) <= _LONGEST and (case.own_code or len(lines) == 1)
    return ("ok" if one_line and case.says in said else "riddle"), said


def _contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="run the cases whose name has this in it")
    only, start = parser.parse_args().only, time.monotonic()
    torch.set_num_threads(1)
    os.environ["WANDB_MODE"] = "disabled"
    verdicts: Counter[str] = Counter()
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                write_files(Path(folder))
            for case in all_cases():
                if only in case.name:
                    verdict, said = judge(case, Path(folder))
                    verdicts[verdict] += 1
                    print(f"{verdict:9} {case.name:55} {said[:160].replace(folder, 'FOLDER')}", flush=True)
        finally:
            os.chdir(home)
    counts = ", ".join(f"{verdicts[name]} {name}" for name in ("traceback", "silent", "riddle", "lost"))
    print(f"{verdicts.total()} cases in {time.monotonic() - start:.0f} s: {verdicts['ok']} ok, {counts}")
    return int(verdicts["ok"] < verdicts.total())


if __name__ == "__main__":
    sys.exit(main())
