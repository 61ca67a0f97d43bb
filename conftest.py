"""What every test and docstring example may rely on."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

torch.set_num_threads(1)  # tensors are small, and threads that wait for one another cost most where a core is busy
# hypothesis keeps what it reads from the tests' sources, and a test writes nothing into the folder it is started in
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / "hypothesis"))


@pytest.fixture(autouse=True)
def _examples(doctest_namespace: dict[str, Any]) -> None:
    """Docstring examples read as if `import torch` stood above them."""
    doctest_namespace["torch"] = torch


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names of tests must not hold bytes: a gzip header has the time in it, and pytest-xdist compares the names."""
    return f"{argname}_of_{len(val)}_bytes" if isinstance(val, bytes) else None
