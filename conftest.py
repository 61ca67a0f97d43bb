"""What every test and docstring example may rely on."""

import os
from typing import Any

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: more threads would wait for one another
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _examples(doctest_namespace: dict[str, Any]) -> None:
    """Docstring examples read as if `import torch` stood above them."""
    doctest_namespace["torch"] = torch


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names of tests must not hold bytes: a gzip header has the time in it, and pytest-xdist compares the names."""
    return f"{argname}_of_{len(val)}_bytes" if isinstance(val, bytes) else None
