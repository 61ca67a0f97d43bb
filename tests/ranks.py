"""Runs a function on several gloo ranks: what is right alone is often wrong in company."""

import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_on_ranks(function: Callable[..., Any], *args: Any, ranks: int = 2) -> list[Any]:
    """Calls `function(*args)` in `ranks` fresh processes of one gloo group.

    Args:
        function: importable at the top level of a module (spawn pickles its name).
        args: picklable.
        ranks: number of processes, one thread each.

    Returns:
        What each rank returned (anything torch.save takes), in the order of ranks.

    Raises:
        RuntimeError: with the tracebacks of all the ranks that failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        context = mp.get_context("spawn")
        processes = [context.Process(target=_rank, args=(r, ranks, folder, function, args)) for r in range(ranks)]
        try:
            for process in processes:
                process.start()
            for process in processes:
                process.join()
        finally:
            for process in processes:
                if process.is_alive():  # the test was interrupted
                    process.kill()
        outcomes = [_outcome(Path(folder, str(r)), process.exitcode) for r, process in enumerate(processes)]
    errors = [f"rank {r} of {ranks}:\n{error}" for r, (error, _) in enumerate(outcomes) if error]
    if errors:
        raise RuntimeError("\n".join(errors))
    return [result for _, result in outcomes]


def _rank(rank: int, ranks: int, folder: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """What a rank does: (traceback, result) to a file of its own."""
    torch.set_num_threads(1)
    group = {"init_method": f"file://{folder}/group", "rank": rank, "world_size": ranks}
    dist.init_process_group("gloo", timeout=timedelta(minutes=2), **group)  # a rank that never comes is an error
    error, result = "", None
    try:
        result = function(*args)
    except BaseException:
        error = traceback.format_exc()
    torch.save((error, result), Path(folder, str(rank)))
    dist.destroy_process_group()


def _outcome(path: Path, exit_code: int | None) -> tuple[str, Any]:
    if not path.exists():
        return f"ended with exit code {exit_code} and no result", None
    error, result = torch.load(path, weights_only=False)
    if not error and exit_code:
        error = f"ended with exit code {exit_code}"
    return error, result
