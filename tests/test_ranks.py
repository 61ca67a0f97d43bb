import os
import re
import time

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.ranks import run_on_ranks


def fail() -> None:
    if dist.get_rank() == 0:
        raise ValueError("what went wrong")
    if dist.get_rank() == 1:
        os._exit(3)
    dist.barrier()  # for those that never come


def hang() -> None:
    if dist.get_rank() == 1:
        time.sleep(1000)


def who() -> tuple[int, int, int]:
    return os.getpid(), dist.get_rank(), dist.get_world_size()


def leave_traces() -> None:
    os.environ["LEFT"] = "1"
    torch.manual_seed(dist.get_rank())
    torch.set_num_threads(2)


def look_for_traces() -> tuple[str | None, Tensor, int, Tensor]:
    total = torch.ones(2)
    dist.all_reduce(total)
    return os.environ.get("LEFT"), torch.rand(3), torch.get_num_threads(), total


def test_calls_share_processes_and_nothing_else() -> None:
    before = run_on_ranks(who)
    found = run_on_ranks(look_for_traces)
    run_on_ranks(leave_traces)
    again = run_on_ranks(look_for_traces)
    after = run_on_ranks(who)
    assert before == after
    assert [(rank, size) for _, rank, size in before] == [(0, 2), (1, 2)]
    for one, other in zip(found, again, strict=True):
        assert other[0] is None
        assert torch.equal(one[1], other[1])
        assert one[2] == other[2] == 1
        assert other[3].tolist() == [2, 2]


def test_a_rank_that_gives_no_answer() -> None:
    first = run_on_ranks(who)
    with pytest.raises(RuntimeError, match="rank 1 of 2:\ngave no answer in 1 seconds"):
        run_on_ranks(hang, seconds=1)
    second = run_on_ranks(who)
    assert not {pid for pid, _, _ in first} & {pid for pid, _, _ in second}


def test_errors_of_all_ranks_are_told_at_once() -> None:
    start = time.monotonic()
    told = r"rank 0 of 3:.*ValueError: what went wrong.*rank 1 of 3:\nended with exit code 3.*rank 2 of 3:\nTraceback"
    with pytest.raises(RuntimeError, match=re.compile(told, re.DOTALL)):
        run_on_ranks(fail, ranks=3)
    assert time.monotonic() - start < 90  # not only when the group's time is up
