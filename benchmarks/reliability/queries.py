"""Kills design runs at random moments (kill -9), continues them until they end, and counts what the oracle was asked.

python -m benchmarks.reliability.queries               # 20 kills in each of 3 searches; exit 1 if the bar is missed
python -m benchmarks.reliability.queries --kills 3

Each search runs by the command line, `fit -c CONFIG`, then `fit -c RUN --ckpt_path last`, in a process of its own. The oracle
notes each call when it begins and when it has answered. Bar: over all starts, each query of the run that was not killed is
answered; asked again are those of the call that was under way at a kill, and no others; none is lost; the designs are equal.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

CONFIGS = {
    "surrogate": "{class_path: SurrogateSearch, init_args: {calls: 200, batch: 10, first: 20, candidates: 100}}",
    "leave one out": (
        "{class_path: GradientSearch, init_args: {chains: 6, steps: 30, estimator: {class_path: LeaveOneOut, "
        "init_args: {samples: 2}}, polish: {sequences: 3, proposals: 4, patience: 3}}}"
    ),
    "beyond its calls": "{class_path: SurrogateSearch, init_args: {calls: 400, batch: 7, first: 9, candidates: 60}}",
}
_CONFIG = """
seed_everything: 1
model:
  class_path: SequenceDesigner
  init_args:
    oracle: {{class_path: BlackBox, init_args: {{function: measured.measure}}}}
    start: {{class_path: FromNothing, init_args: {{length: 7}}}}
    search: {search}
    designs: 10
    oracle_batch: {batch}
trainer:
  max_epochs: -1
  accelerator: cpu
  log_every_n_steps: 1
  callbacks: [{{class_path: DesignWriter}}]
wandb: {{enabled: false}}
"""
# a measurement that takes a moment; LOG says what was asked and answered, a line at a time
_ORACLE = """
import os, time
from zlib import crc32

def note(text):
    with open(os.environ["QUERIES_LOG"], "a") as file:
        file.write(text)

def measure(sequences):
    number = f"{os.getpid()} {time.monotonic_ns()}"
    note("".join(f"asked {number} {each}\\n" for each in sequences))
    time.sleep(0.02)
    scores = [each.count("GA") + crc32(each.encode()) / 2**32 for each in sequences]
    note("".join(f"answered {number} {each}\\n" for each in sequences))
    return scores
"""


def start(arguments: list[str], log: Path) -> int:
    """A process that runs the command line; forked, so that nothing is imported anew."""
    child = os.fork()
    if child:
        return child
    from discrete_lightning.cli import main

    os.environ["QUERIES_LOG"] = str(log)
    with (log.parent / "said.txt").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    code = 70
    try:
        code = main(arguments)
    finally:  # no clean-up of what belongs to the process that was forked
        os._exit(code)


def runs(folder: Path) -> list[Path]:
    return sorted(folder.glob("runs/*/*/"), key=lambda path: path.stat().st_ctime_ns)


def queries(log: Path, kind: str) -> Iterator[str]:
    yield from (line.split()[-1] for line in log.read_text().splitlines() if line.startswith(kind + " "))


def began_calls(log: Path) -> int:
    return len({line.split()[2] for line in log.read_text().splitlines() if line.startswith("asked ")})


def last_calls(log: Path, kills: int) -> list[list[str]]:
    """The queries of the last call of each process that was killed: it may have been under way, or not yet written down."""
    processes: dict[str, tuple[str, list[str]]] = {}
    for line in log.read_text().splitlines():
        kind, process, number, query = line.split()
        if kind == "asked":
            same = processes[process][1] if processes.get(process, ("", []))[0] == number else []
            processes[process] = number, [*same, query]
    return [call for _, call in list(processes.values())[:kills]]


def designs(folder: Path) -> str:
    return next(folder.glob("runs/*/*/designs.csv")).read_text()


def trial(name: str, folder: Path, kills: int, random_: random.Random) -> list[str]:
    """Faults of one search."""
    config = folder / "config.yaml"
    config.write_text(_CONFIG.format(search=CONFIGS[name], batch=2))
    (folder / "measured.py").write_text(_ORACLE)
    command = ["--trust", "measured", "--run_root", str(folder / "whole" / "runs")]
    for place in ("whole", "killed"):
        (folder / place).mkdir()
    _, status = os.waitpid(start(["fit", "-c", str(config), *command], folder / "whole" / "log"), 0)
    if status:
        return [(folder / "whole" / "said.txt").read_text()[-500:]]
    whole, calls = list(queries(folder / "whole" / "log", "answered")), began_calls(folder / "whole" / "log")
    command[-1] = str(folder / "killed" / "runs")
    log, done, starts, faults = folder / "killed" / "log", 0, 0, list[str]()
    log.write_text("")
    status = 1
    source = ["-c", str(config)]
    while status:
        child = start(["fit", *source, *command], log)
        starts += 1
        if done < kills:
            at = began_calls(log) + random_.randint(0, max(1, 2 * (calls - began_calls(log)) // (kills - done + 1)))
            if random_.random() < 0.2:  # some before the search goes on
                time.sleep(random_.uniform(0.1, 2.0))
            else:
                while (
                    began_calls(log) < at and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
                ):
                    time.sleep(0.002)
                time.sleep(random_.uniform(0.0, 0.06))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        done += os.WIFSIGNALED(status)
        if status and not os.WIFSIGNALED(status):
            return [(folder / "killed" / "said.txt").read_text()[-800:]]
        begun = [path for path in runs(folder / "killed") if list(path.glob("checkpoints/*.ckpt"))]
        if begun:  # sometimes the run before, as who repeats a command does
            chosen = begun[-2] if len(begun) > 1 and random_.random() < 0.25 else begun[-1]
            source = ["-c", str(chosen), "--ckpt_path", "last"]
    asked, answered = Counter(queries(log, "asked")), Counter(queries(log, "answered"))
    cut = Counter(query for call in last_calls(log, done) for query in call)
    if missing := set(whole) - set(answered):
        faults.append(f"{len(missing)} queries lost")
    if extra := set(answered) - set(whole):
        faults.append(f"{len(extra)} queries that the run that was not killed did not ask")
    again = asked - Counter(whole)
    if more := again - cut:
        faults.append(f"{sum(more.values())} queries asked again that were not under way at a kill")
    if designs(folder / "killed") != designs(folder / "whole"):
        faults.append("other designs")
    print(
        f"{name:18} {done:3} kills in {starts} starts: {len(whole)} queries, all answered, {sum(again.values())} of calls "
        f"under way at a kill asked again; {'; '.join(faults) or 'designs equal'}",
        flush=True,
    )
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", default="", help="the searches whose name has this in it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    import torch

    import discrete_lightning.cli  # noqa: F401  before the processes are forked

    torch.set_num_threads(1)
    faults = []
    home = Path.cwd()
    for number, name in enumerate(CONFIGS):
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            faults += trial(name, Path(folder), options.kills, random.Random(options.seed + number))
            os.chdir(home)
    for fault in faults:
        print(fault)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
