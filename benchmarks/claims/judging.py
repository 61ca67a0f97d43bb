"""Runs the program of a claim in a process and an empty folder of its own, and judges what it printed."""

import contextlib
import importlib.metadata
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.claims.claim import Claim

ROOT = Path(__file__).resolve().parents[2]
HOLDS, FAILS, UNCHECKED = "holds", "no longer holds", "not checked"


@dataclass(frozen=True)
class Verdict:
    """What became of a claim: HOLDS, FAILS or UNCHECKED, the figure of today or the reason, and the seconds it took."""

    claim: Claim
    status: str
    now: str
    seconds: float


@dataclass(frozen=True)
class Output:
    """What a program printed, and how it ended."""

    text: str
    code: int
    timed_out: bool
    seconds: float


def arguments_of(command: str) -> list[str]:
    """A command line as a list, with this Python, the programs of this repository, and the folder of the data for `{data}`."""
    data = next((str(folder) for folder in _data_folders() if folder.exists()), "data")
    words = [word.replace("{data}", data) for word in shlex.split(command)]
    programs = {
        "python": sys.executable,
        "discrete-lightning": str(Path(sys.executable).with_name("discrete-lightning")),
    }
    if words[0] not in programs:
        raise ValueError(f"a claim's command starts with python or discrete-lightning, got {command!r}")
    return [programs[words[0]], *(str(ROOT / word) if word.startswith("recipes/") else word for word in words[1:])]


def run(command: str, limit: float | None) -> Output:
    """What a command printed; of commands joined by `&&`, what all did, up to the first that fails.

    They run in one temporary folder. `limit` is in seconds for all together, None is without end.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "WANDB_MODE": "disabled", "MPLBACKEND": "Agg"}
    start, code, timed_out = time.perf_counter(), 0, False
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        (Path(folder) / "output").open("w+") as file,
    ):
        for part in command.split(" && "):
            process = subprocess.Popen(
                arguments_of(part),
                cwd=folder,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(None if limit is None else max(0.0, limit - (time.perf_counter() - start)))
            except subprocess.TimeoutExpired:
                timed_out = True
            finally:  # a program that started others takes them with it, also after Ctrl-C
                _end(process)
            if code or timed_out:
                break
        file.seek(0)
        text = file.read()
    return Output(text, code, timed_out, time.perf_counter() - start)


def _end(process: subprocess.Popen[bytes]) -> None:

    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing was printed"


def missing(claim: Claim) -> str:
    """Why the claim cannot be checked here; empty if it can."""
    for need in claim.needs:
        if need.startswith("data/"):
            name = need.removeprefix("data/")
            if not any((folder / name).exists() for folder in _data_folders()):
                return f"needs the data of {name}: set DISCRETE_LIGHTNING_DATA to the folder that holds it"
        elif _version(need.split("==")[0]) is None:
            return f"needs pip install {need}"
    return ""


def other_versions(claim: Claim) -> str:
    """A remark on peers that are installed in another version than the one that was measured; empty if there are none."""
    found = [(need, _version(need.split("==")[0])) for need in claim.needs if "==" in need]
    other = [
        f"{need.split('==')[0]} is {version} here" for need, version in found if not _same(need.split("==")[1], version)
    ]
    return f" ({', '.join(other)})" if other else ""


def _same(measured: str, installed: str | None) -> bool:
    return installed is not None and f"{installed}.".startswith(f"{measured}.")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _data_folders() -> list[Path]:
    given = os.environ.get("DISCRETE_LIGHTNING_DATA")
    return [*([Path(given)] if given else []), Path.home() / ".cache" / "discrete_lightning"]


@dataclass
class Judge:
    """Judges claims; claims of one command share its run. Time limits are multiplied by `patience`;
    after `seconds` in all no further program is started."""

    quick: bool = True
    patience: float = 1.0
    seconds: float = float("inf")
    began: float = field(default_factory=time.perf_counter)
    program: Callable[[str, float | None], Output] = run
    outputs: dict[str, Output] = field(default_factory=dict)

    def __call__(self, claim: Claim) -> Verdict:
        if reason := missing(claim):
            return Verdict(claim, UNCHECKED, reason, 0.0)
        command = claim.quick if self.quick else claim.command
        shared = command in self.outputs
        left = self.seconds - (time.perf_counter() - self.began)
        if not shared and left <= 0:
            return Verdict(
                claim, UNCHECKED, "the time of all claims is over: --minutes gives more, --only names some", 0.0
            )
        limit = min(claim.limit * self.patience, left)
        if not shared:
            self.outputs[command] = self.program(command, limit if self.quick else None)
        output = self.outputs[command]
        seconds = 0.0 if shared else output.seconds
        if output.timed_out:
            return Verdict(claim, UNCHECKED, f"not over after {limit:.0f} s", seconds)
        code, end = output.code, _last_line(output.text)
        try:
            numbers = claim.numbers(output.text)
        except ValueError as error:
            return Verdict(
                claim, FAILS, f"exit code {code}: {end}" if code else f"{error}; it ends with {end}", seconds
            )
        now = claim.now.format(*(_short(number) for number in numbers)) + other_versions(claim)
        if code not in claim.codes:
            return Verdict(claim, FAILS, f"{now}; exit code {code}: {end}", seconds)
        return Verdict(claim, HOLDS if claim.holds(*numbers) else FAILS, now, seconds)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) and abs(number) >= 1000 else f"{number:.4g}"
