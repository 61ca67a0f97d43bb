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
