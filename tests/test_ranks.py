import os
import re

import pytest
import torch.distributed as dist

from tests.ranks import run_on_ranks


def fail() -> None:
    if dist.get_rank() == 0:
        raise ValueError("what went wrong")
    os._exit(3)


def test_errors_of_all_ranks_are_told() -> None:
    told = r"rank 0 of 2:\nTraceback.*ValueError: what went wrong.*rank 1 of 2:\nended with exit code 3"
    with pytest.raises(RuntimeError, match=re.compile(told, re.DOTALL)):
        run_on_ranks(fail)
