"""Runs on a full disk, in folders that cannot be written to, without a home, temporary folder, shared memory or open files.

python -m benchmarks.reliability.starved                # prints each case; exit 1 if the bar is missed
python -m benchmarks.reliability.starved --only disk

Each case is a forked process with mounts of its own (where the system allows that; else the case is skipped, and says so) or
with limits of its own. Bar: the command either does its work, or ends with one line, `error: ...`, and no traceback; every
checkpoint, config, table and picture that lies there can be read, and nothing half-written is left.
"""

import argparse
import contextlib
import ctypes
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_LONGEST = 900
_SMALL = ["--wandb.enabled=false", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1"]
FITS: dict[str, list[str]] = {
    "vq": ["-c", "vq/quickstart", "--model.hidden=4", "--trainer.max_epochs=3", "--trainer.limit_train_batches=2"],
    "nas": [
        "-c",
        "nas/quickstart",
        "--trainer.max_epochs=3",
        "--trainer.limit_train_batches=2",
        "--model.retrain_epochs=1",
    ],
    "design": ["-c", "design/black_box", "--model.search.init_args.calls=60"],
    "selection": ["-c", "selection/quickstart", "--trainer.max_epochs=2", "--trainer.limit_train_batches=2"],
    "routing": [
        "-c",
        "routing/planted",
        "--trainer.max_epochs=2",
        "--trainer.limit_train_batches=2",
        "--data.rows=256",
    ],
}


class Skipped(Exception):
    """The system does not allow what a case needs."""


@dataclass
class Case:
    """A command under a want of something.

    Attributes:
        name: what is wanting, and what runs.
        arguments: of the command; FOLDER is the folder of the case.
        prepare: is called in the process of the case, with its folder.
        works: whether the command must do its work; None: either.
        before: a command that runs before `prepare`, in peace.
    """

    name: str
    arguments: list[str]
    prepare: Callable[[Path], None]
    works: bool | None = None
    before: list[str] = field(default_factory=list)


# What is wanting


def own_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS if os.geteuid() == 0 else _NEW_MOUNTS | _NEW_USER):
        raise Skipped(f"no mounts of its own: {os.strerror(ctypes.get_errno())}")
    mount("--make-rprivate", "/")


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(done.stderr.strip())


def disk(kilobytes: int) -> Callable[[Path], None]:
    """A disk of this size, for the run's folder."""

    def prepare(folder: Path) -> None:
        own_mounts()
        (folder / "runs").mkdir(exist_ok=True)
        mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder / "runs"))

    return prepare


def filled(left: int) -> Callable[[Path], None]:
    """The disk of a run that is there already, filled up but for some kilobytes."""

    def prepare(folder: Path) -> None:
        own_mounts()
        runs, kept = folder / "runs", folder / "kept"
        runs.rename(kept)
        runs.mkdir()
        mount("-t", "tmpfs", "-o", "size=40m", "tmpfs", str(runs))
        subprocess.run(["cp", "-a", f"{kept}/.", str(runs)], check=True)
        free = os.statvfs(runs)
        (runs / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left * 1024)))

    return prepare


def longest_file(kilobytes: int) -> Callable[[Path], None]:
    def prepare(_: Path) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))

    return prepare


def open_files(count: int) -> Callable[[Path], None]:
    def prepare(_: Path) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    return prepare


def read_only(folder: Path) -> None:
    (folder / "runs").mkdir(exist_ok=True)
    if os.geteuid():
        for path in [*(folder / "runs").rglob("*"), folder / "runs"]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        return
    own_mounts()
    mount("--bind", str(folder / "runs"), str(folder / "runs"))
    mount("-o", "remount,ro,bind", str(folder / "runs"))


def shared_memory(kilobytes: int) -> Callable[[Path], None]:
    def prepare(_: Path) -> None:
        own_mounts()
        options = f"size={kilobytes}k" if kilobytes else "ro"
        mount("-t", "tmpfs", "-o", options, "tmpfs", "/dev/shm")

    return prepare


def variables(**values: str | None) -> Callable[[Path], None]:
    """Environment variables; None removes one, FILE is a path that is a file."""

    def prepare(folder: Path) -> None:
        (folder / "file").write_text("")
        for name, value in values.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value.replace("FILE", str(folder / "file"))
        tempfile.tempdir = None  # asked for anew

    return prepare


def cases() -> Iterator[Case]:
    root = ["--run_root=FOLDER/runs"]
    for name, fit in FITS.items():
        whole = name == "vq"
        for size in (4, 16, 48, 100, 200, 300) if whole else (16, 150):
            yield Case(f"disk of {size} KB, fit {name}", ["fit", *fit, *_SMALL, *root], disk(size))
        for size in (0, 1, 8, 32, 100) if whole else (1, 24):
            yield Case(f"no file longer than {size} KB, fit {name}", ["fit", *fit, *_SMALL, *root], longest_file(size))
        before = ["fit", *fit, *_SMALL, *root]
        for command in ("test", "predict", "fit") if name in ("vq", "design") else ("fit",):
            last = ["--ckpt_path=last"] if command == "fit" else []
            given = [command, "-c", "FOLDER/runs/*/*", *last, *root]
            for left in (0, 64) if whole else (8,):
                yield Case(f"disk with {left} KB left, {command} of {name}", given, filled(left), before=before)
            if whole:
                yield Case(f"read-only, {command} of {name}", given, read_only, before=before, works=False)
        yield Case(f"read-only, fit {name}", ["fit", *fit, *_SMALL, *root], read_only, works=False)
    fit = ["fit", *FITS["vq"], *_SMALL, *root]
    evaluated = ["test", "-c", "FOLDER/runs/*/*", "--run_root=FOLDER/elsewhere"]
    yield Case("read-only run, test elsewhere", evaluated, read_only, works=True, before=fit)
    yield Case(
        "run_root below a file", ["fit", *FITS["vq"], *_SMALL, "--run_root=FOLDER/file/runs"], variables(), works=False
    )
    yield Case("run_root in /proc", ["fit", *FITS["vq"], *_SMALL, "--run_root=/proc/runs"], variables(), works=False)
    for name, change in {
        "no HOME": variables(HOME=None, XDG_CACHE_HOME=None, XDG_CONFIG_HOME=None),
        "HOME missing": variables(HOME="/nowhere/at/all"),
        "HOME is a file": variables(HOME="FILE"),
        "TMPDIR missing": variables(TMPDIR="/nowhere/at/all"),
        "TMPDIR is a file": variables(TMPDIR="FILE"),
        "64 open files": open_files(64),
        "no shared memory": shared_memory(0),
    }.items():
        yield Case(f"{name}, fit", fit, change, works=True)
        with_wandb = [each for each in fit if not each.startswith("--wandb")]
        yield Case(f"{name}, fit with W&B offline", with_wandb, change, works=None if "open" in name else True)
        yield Case(f"{name}, fit with 2 workers", [*fit, "--data.num_workers=2"], change)
    for left in (24, 32, 48):
        yield Case(f"{left} open files, fit", fit, open_files(left))
    yield Case("4 KB of shared memory, fit with 2 workers", [*fit, "--data.num_workers=2"], shared_memory(4))


# What is seen


def run(case: Case) -> tuple[str, str]:
    """The verdict on a case ("ok", "skipped" or what is wrong), and the last line of what was said; in a process of its own."""
    read, write = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if not child:
            os.close(read)
            try:
                found = judged(case, Path(folder))
            except Skipped as reason:
                found = "skipped", str(reason)
            except BaseException as error:
                found = "the script failed", f"{type(error).__name__}: {error}"
            os.write(write, json.dumps(found).encode()[:60_000])
            os._exit(0)
        os.close(write)
        text = b""
        while part := os.read(read, 65536):
            text += part
        os.close(read)
        os.waitpid(child, 0)
    if not text:
        return "the process died", ""
    verdict, said = json.loads(text)
    return verdict, said.replace(folder, "FOLDER").replace(f"{Path(__file__).parents[2]}/", "")


def command_line(arguments: list[str], folder: Path) -> tuple[int, str]:
    """Exit code and stderr of a command."""
    from discrete_lightning.cli import main as discrete_lightning

    given = []
    for each in arguments:
        text = each.replace("FOLDER", str(folder))
        given.append(str(next(iter(sorted(Path("/").glob(text.lstrip("/")))), text)) if "*" in text else text)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = discrete_lightning(given)
    return code, err.getvalue()


def judged(case: Case, folder: Path) -> tuple[str, str]:
    os.chdir(folder)
    if case.before and command_line(case.before, folder)[0]:
        return "the script failed", "the run before"
    case.prepare(folder)
    try:
        code, text = command_line(case.arguments, folder)
    except BaseException as error:
        return "traceback", f"{type(error).__name__}: {error}"
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    lines = [line for line in text.strip().splitlines() if line]
    said = lines[-1] if lines else ""
    if "Traceback (most recent call last)" in text:
        return "traceback", said
    if code and not said.startswith("error: "):
        return "no line", text[-300:]
    if code and (len(said) > _LONGEST or sum(line.startswith("error: ") for line in lines) > 1):
        return "a riddle", said
    if case.works is not None and case.works != (code == 0):
        return ("it should work" if case.works else "it should not work"), said
    return broken(folder) or "ok", said or f"exit code {code}"


def broken(folder: Path) -> str:
    """What cannot be read of what lies there."""
    import torch
    import yaml  # type: ignore[import-untyped]

    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        if path.name.endswith(".tmp"):
            return f"left over: {path.name}"
        try:
            if path.suffix == ".ckpt":
                torch.load(path, map_location="cpu", weights_only=True)
            elif path.name == "config.yaml":
                if not isinstance(yaml.safe_load(path.read_text()), dict):
                    return "an empty config.yaml"
            elif path.suffix == ".csv":
                rows = path.read_text().splitlines()
                if any(line.count(",") != rows[0].count(",") for line in rows) and '"' not in "".join(rows):
                    return f"a cut line in {path.name}"
            elif path.suffix == ".png" and not path.read_bytes().rstrip().endswith(b"IEND\xaeB`\x82"):
                return f"a cut {path.name}"
        except Exception as error:
            return f"{path.name} cannot be read: {type(error).__name__}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="run the cases whose name has this in it")
    only = parser.parse_args().only
    os.environ |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    import torch

    import discrete_lightning.cli.commands  # noqa: F401  before the processes are forked

    torch.set_num_threads(1)
    verdicts: Counter[str] = Counter()
    for case in cases():
        if only not in case.name:
            continue
        verdict, said = run(case)
        verdicts["ok" if verdict == "ok" else "skipped" if verdict == "skipped" else "short"] += 1
        print(f"{verdict:20} {case.name:48} {said[:300]}", flush=True)
    print(
        f"{verdicts.total()} cases: {verdicts['ok']} ok, {verdicts['short']} short of the bar, {verdicts['skipped']} skipped"
    )
    return int(verdicts["short"] > 0)


if __name__ == "__main__":
    sys.exit(main())
