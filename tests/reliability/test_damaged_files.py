"""A part of benchmarks/reliability/files.py and class_paths.py; those run all of their tables."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.reliability import class_paths, files
from benchmarks.reliability.damaged_checkpoints import BYTES, PLACES, RESUMING
from benchmarks.reliability.damaged_configs import CONFIGS, FINE, PARTS
from benchmarks.reliability.damaged_wandb import environment

CHECKPOINTS = (
    "cut in half", "digest missing", "bit in a record's name", "bit in the padding", "bit in the digest", "picture",
    "gzip of it", "zip with another pickle", "a tensor", "runs code among the hyper-parameters", "infinite weight",
    "names of weights changed", "written by a later version", "loops are a number", "a pipe", "of another family",
)  # fmt: skip
CONFIG_KINDS = (
    "binary", "zeros", "key is a number", "anchor of itself", "billion laughs", "python/object", "cycle of interpolations",
    "nested lists", "10 MB of brackets", "part of laughs", "python/object in a part",
)  # fmt: skip
DATA = (
    "npz: 10^12 rows in a zip", "npz: code in the header", "npz: pickled in a zip", "csv: gzip of nothing", "motif: NaN",
    "architecture.json: nested", "codes: flipped", "shipped: table of TFBind8, flipped",
)  # fmt: skip
PATHS = ("torch.load", "torch.nn.Module.load_state_dict")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, files.Case]]:
    """By kind, the first case of each, in a folder that holds their files."""
    folder, home = tmp_path_factory.mktemp("damaged").resolve(), Path.cwd()
    with environment({"WANDB_MODE": "disabled"}), contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)
        try:
            files.prepare()
            found: dict[str, files.Case] = {}
            for area in ("checkpoints", "configs", "data"):
                for case in files.AREAS[area](folder, _wanted):
                    found.setdefault(case.kind, case)
            yield found
        finally:
            os.chdir(home)


def _wanted(kind: str) -> bool:
    chosen = {*(f"checkpoint: {kind}" for kind in CHECKPOINTS), *(f"config: {kind}" for kind in CONFIG_KINDS), *DATA}
    return kind in chosen


@pytest.mark.parametrize("kind", [f"checkpoint: {kind}" for kind in CHECKPOINTS])
def test_checkpoints(cases: dict[str, files.Case], kind: str) -> None:
    assert files.judge(cases[kind], Path.cwd())[0] == "ok"


@pytest.mark.parametrize("kind", [f"config: {kind}" for kind in CONFIG_KINDS])
def test_configs(cases: dict[str, files.Case], kind: str) -> None:
    assert files.judge(cases[kind], Path.cwd())[0] == "ok"


@pytest.mark.parametrize("kind", DATA)
def test_data(cases: dict[str, files.Case], kind: str) -> None:
    assert files.judge(cases[kind], Path.cwd())[0] == "ok"


def test_class_paths(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        assert class_paths.run({path: class_paths.PATHS[path] for path in PATHS}) == len(PATHS), capsys.readouterr().out


def test_the_tables_are_as_long_as_promised() -> None:
    assert len({*BYTES, *RESUMING, *PLACES, *CONFIGS, *PARTS, *FINE}) >= 60
    assert len(class_paths.PATHS) >= 30
