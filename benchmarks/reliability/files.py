"""Damaged and foreign files: checkpoints, configs, data, W&B's folders; and what the command line answers to each.

python -m benchmarks.reliability.files              # prints a line a case, and the counts; exit 1 if the bar is missed
python -m benchmarks.reliability.files --area data --only npz   # of data alone, whose kind has "npz" in it

A kind is a sort of damage to a sort of file; a case is a kind and a command. Bar: 60 kinds or more; no traceback, no damaged
file taken in silence, no training begun anew. A case passes if the command fails with one line on stderr, `error: ...`, of at
most 700 characters, that names the file; in 5 seconds of work, with at most 1 GiB of memory more; without running code that
the file holds; and if the files that were there before are there after, unchanged. A run that may go on (W&B) has to end well.
"""

import argparse
import contextlib
import io
import os
import re
import resource
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch

from benchmarks.reliability.damaged_checkpoints import BYTES, PLACES, RESUMING
from benchmarks.reliability.damaged_configs import CONFIGS, FINE, PARTS
from benchmarks.reliability.damaged_data import cases as cases_of_data
from benchmarks.reliability.damaged_shipped import KINDS, shipped_damaged
from benchmarks.reliability.damaged_wandb import FOLDERS, environment
from discrete_lightning.cli import main as discrete_lightning

_LONGEST, _SLOWEST, _MOST = 700, 5.0, 1 << 30  # letters, seconds of this process, bytes
_OF_WANDB = ("latest-run", "debug.log", "debug-internal.log")  # links that it sets anew in each run
_COMMANDS = ("fit", "validate", "test", "predict")
_FOREIGN = {"of another family": "vae/checkpoints/last.ckpt", "of another size": "wide/checkpoints/last.ckpt"}
_SMALL = """\
seed_everything: 1
model:
  class_path: VQAutoencoder
  init_args: {hidden: 4, quantizer: {class_path: GumbelQuantizer, init_args: {num_codes: 8, dim: 4}}}
data: {class_path: Digits, init_args: {batch_size: 64}}
trainer: {max_epochs: 1, limit_train_batches: 2, limit_val_batches: 1, limit_test_batches: 1, limit_predict_batches: 1,
  accelerator: cpu, log_every_n_steps: 1, num_sanity_val_steps: 0}
"""
_OTHERS = {
    "small.yaml": _SMALL,
    "vae.yaml": """\
model: {class_path: CategoricalVAE, init_args: {latents: 2, categories: 3, hidden: [8]}}
data: {class_path: Digits, init_args: {batch_size: 64}}
trainer: {max_epochs: 1, limit_train_batches: 1, limit_val_batches: 1, limit_test_batches: 1, accelerator: cpu,
  log_every_n_steps: 1}
""",
    "design.yaml": """\
model:
  class_path: SequenceDesigner
  init_args:
    oracle: discrete_lightning.oracles.TFBind8
    start: {class_path: FromNothing, init_args: {length: 8}}
    search: {class_path: GradientSearch, init_args: {chains: 2, steps: 1}}
    designs: 2
trainer: {max_epochs: -1, accelerator: cpu}
""",
    "selection.yaml": """\
model: {class_path: FeatureSelection, init_args: {k: 2}}
data: {class_path: FeatureTable}
trainer: {max_epochs: 1, limit_train_batches: 1, accelerator: cpu, log_every_n_steps: 1}
""",
    "retrain.yaml": """\
model:
  class_path: ArchitectureTraining
  init_args: {space: {class_path: NASBench201, init_args: {channels: 2, cells: 1, nodes: 3}}}
data: {class_path: Digits, init_args: {batch_size: 64}}
trainer: {max_epochs: 1, limit_train_batches: 1, limit_val_batches: 1, limit_test_batches: 1, accelerator: cpu,
  log_every_n_steps: 1}
""",
    "text.yaml": """\
model: {class_path: LanguageModel}
data: {class_path: TextFiles, init_args: {batch_size: 2, context: 8}}
trainer: {max_epochs: 1, limit_train_batches: 1, accelerator: cpu, log_every_n_steps: 1}
""",
}


Wanted = Callable[[str], bool]  # of a kind: whether to make its files


@dataclass(frozen=True)
class Case:
    """A command.

    Args:
        kind: the sort of file and its damage.
        arguments: of the command line.
        names: what the answer has to name; "" for nothing.
        ends_well: whether the command is to succeed.
        shipped: a file of the package that is damaged meanwhile.
        variables: of the environment.
    """

    kind: str
    arguments: tuple[str, ...]
    names: str = ""
    ends_well: bool = False
    shipped: str = ""
    variables: tuple[tuple[str, str], ...] = ()


def judge(case: Case, folder: Path) -> tuple[str, str]:
    """Runs a case in `folder`, the working directory; its verdict, and the last line of its answer."""
    before, memory, start = _files(folder), _Peak(), time.process_time()
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        environment(dict(case.variables)),
        shipped_damaged(case.shipped),
        memory,
    ):
        warnings.simplefilter("ignore")
        try:
            code = discrete_lightning([*case.arguments, "--run_dir=out"])
        except BaseException as error:
            return "traceback", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    took, after = time.process_time() - start, _files(folder)
    lines = err.getvalue().strip().splitlines()
    said = lines[-1] if lines else ""
    if "Traceback (most recent call last)" in err.getvalue():
        return "traceback", said
    if Path("executed").exists():
        Path("executed").unlink()
        return "executed", said
    if any(after.get(path) != content for path, content in before.items()):
        return "lost", said
    if case.ends_well:
        return ("ok" if code == 0 else "refused"), said
    if code == 0:
        return ("restart" if "epoch 1/" in out.getvalue() else "silent"), said or out.getvalue()[-200:]
    if "epoch " in out.getvalue() and not case.kind.startswith("png"):  # pictures are read when they are asked for
        return "late", said
    one_line = said.startswith("error: ") and len(said) <= _LONGEST and len(lines) == 1
    if not one_line or case.names not in said or re.search(r"\[Errno|object has no attribute|NoneType", said):
        return "riddle", said
    if took > _SLOWEST or memory.peak > _MOST:
        return "slow", f"{took:.1f} s, {memory.peak >> 20} MiB: {said}"
    return "ok", said


class _Peak:
    """The most memory of this process within the block, above that at its start."""

    def __enter__(self) -> "_Peak":
        self.start, self.peak, self._stop = _resident(), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, _resident() - self.start)


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in folder.rglob("*") if not path.is_dir() and "out" not in path.parts]
    stats = {str(path): path.lstat() for path in files if path.name not in _OF_WANDB}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def checkpoint_cases(folder: Path, wanted: Wanted = lambda kind: True) -> Iterator[Case]:
    """Each kind with each command as a file; and as `last`, `best` and a folder in turn."""
    whole = Path("run/checkpoints/last.ckpt")
    for i, kind in enumerate([*BYTES, *RESUMING, *PLACES, *_FOREIGN]):
        if not wanted(f"checkpoint: {kind}"):
            continue
        run = folder / f"damaged-{i}"
        (run / "checkpoints").mkdir(parents=True)
        shutil.copy("run/config.yaml", run)
        path = run / "checkpoints/last.ckpt"
        if kind in PLACES:
            PLACES[kind](path, whole)
        elif kind in _FOREIGN:
            shutil.copy(_FOREIGN[kind], path)
        else:
            path.write_bytes((BYTES | RESUMING)[kind](whole.read_bytes()))
        given = ["-c", str(run), "--trainer.max_epochs=2", "--ckpt_path"]
        for command in ("fit",) if kind in RESUMING else _COMMANDS:
            yield Case(f"checkpoint: {kind}", (command, *given, str(path)), "checkpoint")
        forms = ["last", "best", str(run), str(path.parent), f"file://{path}"]
        for form in (forms[i % 5], forms[(i + 2) % 5]):
            yield Case(f"checkpoint: {kind}", ("fit", *given, form), "checkpoint")


def config_cases(folder: Path, wanted: Wanted = lambda kind: True) -> Iterator[Case]:
    """Files given with -c, and files that they name."""
    for kind, content in CONFIGS.items():
        if not wanted(f"config: {kind}"):
            continue
        path = write(folder / f"config {kind.replace('/', ' ')}.yaml", content)
        yield Case(f"config: {kind}", ("check", "-c", "small.yaml", "-c", str(path)), ".yaml")
        yield Case(f"config: {kind}", ("fit", "-c", "small.yaml", "-c", str(path)), ".yaml")
    for kind, content in PARTS.items():
        if not wanted(f"config: {kind}"):
            continue
        part = folder / f"part {kind.replace('/', ' ')}.yaml"
        write(part, content.replace(b"PATH", str(part).encode()))
        for key in ("model", "data", "trainer", "config"):
            path = write(folder / f"with {part.stem} as {key}.yaml", f"{key}: {part}\n".encode())
            yield Case(f"config: {kind}", ("check", "-c", "small.yaml", "-c", str(path)), ".yaml")
    (folder / "folder.yaml").mkdir()
    (folder / "link.yaml").symlink_to("link.yaml")
    os.mkfifo("pipe.yaml")
    for name in ("folder.yaml", "link.yaml", "pipe.yaml", "not there.yaml", "x" * 5000, "a\0b"):
        yield Case(f"config: {name[:12]!r}", ("check", "-c", name))
    for kind, content in FINE.items():
        path = write(folder / f"fine {kind}.yaml", content)
        yield Case(f"config: {kind}", ("check", "-c", "small.yaml", "-c", str(path)), ends_well=True)


def data_cases(folder: Path, wanted: Wanted = lambda kind: True) -> Iterator[Case]:
    """Files of data that are the user's, and those that are installed."""
    for kind, given, names in cases_of_data(lambda name, content: write(folder / name, content), wanted):
        if wanted(kind):
            yield Case(kind, tuple(given), names)
    for kind, (file, arguments) in KINDS.items():
        yield Case(f"shipped: {kind}", arguments, "nstall", shipped=file)


def wandb_cases(folder: Path, wanted: Wanted = lambda kind: True) -> Iterator[Case]:
    """Runs that log to W&B offline."""
    for kind, make in FOLDERS.items():
        if not wanted(f"W&B: {kind}"):
            continue
        variables = make(folder)
        yield Case(f"W&B: {kind}", ("fit", "-c", "small.yaml"), ends_well=True, variables=tuple(variables.items()))


AREAS = {"checkpoints": checkpoint_cases, "configs": config_cases, "data": data_cases, "wandb": wandb_cases}


def write(path: Path, content: bytes) -> Path:
    """Writes a file, in a folder of its own if it is not there, and gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def prepare() -> None:
    """Writes the configs, and trains what checkpoints are taken from."""
    for name, text in _OTHERS.items():
        Path(name).write_text(text)
    for arguments in (
        ["-c", "small.yaml", "--run_dir=run"],
        ["-c", "small.yaml", "--run_dir=wide", "--model.hidden=6"],
        ["-c", "vae.yaml", "--run_dir=vae"],
    ):
        code = discrete_lightning(["fit", *arguments])
        assert code == 0, arguments


def run(areas: Sequence[str] = tuple(AREAS), only: str = "") -> tuple[Counter[str], set[str]]:
    """Runs the cases of some areas whose kind has `only` in it, in a temporary folder; the verdicts, and the kinds."""
    verdicts, kinds, home = Counter[str](), set[str](), Path.cwd()
    with tempfile.TemporaryDirectory() as name, environment({"WANDB_MODE": "disabled"}):
        folder = Path(name).resolve()
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                prepare()
            for case in chain.from_iterable(AREAS[area](folder, lambda kind: only in kind) for area in areas):
                if only in case.kind:
                    verdict, said = judge(case, folder)
                    shutil.rmtree("out", ignore_errors=True)
                    verdicts[verdict] += 1
                    kinds.add(case.kind)
                    shown = said[:150].replace(str(folder), "FOLDER")
                    print(f"{verdict:9} {_named(case):62} {shown!a}", flush=True)
        finally:
            os.chdir(home)
    return verdicts, kinds


def _named(case: Case) -> str:
    given: Sequence[str] = case.arguments
    form = given[given.index("--ckpt_path") + 1] if "--ckpt_path" in given else ""
    return f"{case.kind} ({case.arguments[0]}{' ' + Path(form).name if form else ''})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="run the cases whose kind has this in it")
    parser.add_argument("--area", choices=AREAS, action="append", help="run these cases alone")
    given, start = parser.parse_args(), time.monotonic()
    torch.set_num_threads(1)
    verdicts, kinds = run(given.area or tuple(AREAS), given.only)
    counts = {
        "tracebacks": verdicts["traceback"],
        "silent loads": verdicts["silent"],
        "restarts": verdicts["restart"],
        "executed": verdicts["executed"],
        "riddles": verdicts["riddle"] + verdicts["late"] + verdicts["refused"],
        "slow": verdicts["slow"],
        "files lost": verdicts["lost"],
    }
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{len(kinds)} kinds, {verdicts.total()} cases: {verdicts['ok']} ok, {shown}")
    print(f"({time.monotonic() - start:.0f} s)")
    return int(verdicts["ok"] < verdicts.total() or (not given.only and not given.area and len(kinds) < 60))


if __name__ == "__main__":
    sys.exit(main())
