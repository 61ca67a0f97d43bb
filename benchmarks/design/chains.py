"""The cost of a chain: time per step and chain, and peak memory, of 1, 64 and 1,024 chains in one batched call.

python -m benchmarks.design.chains [--length 200] [--device cpu]

Requirements: a chain of a batch of 1,024 takes less time than a single one, and peak memory grows linearly with the number of
chains. A step is a complete step of GradientSearch: sampling, the motif scan with its gradient, constraints, Adam, and
recording the best. Memory is the resident memory of a fresh process above what it has before the search is built.
"""

import argparse
import statistics
import subprocess
import sys
import time

import torch

from benchmarks._timing import device_name
from discrete_lightning.design import DesignProblem, FromNothing, GradientSearch
from discrete_lightning.design.constraints import ForbiddenMotifs, GCContent, MaxHomopolymer
from discrete_lightning.design.oracles import MotifScan

CHAINS = (1, 64, 1024)
RULES = (GCContent(0.25, 0.65), MaxHomopolymer(5), ForbiddenMotifs(["GAATTC", "GGTCTC"]))


def steps(chains: int, length: int, count: int, device: str) -> list[float]:
    """Seconds of each step, without the first three."""
    torch.manual_seed(0)
    problem = DesignProblem(MotifScan("CTCF"), FromNothing(length), constraints=RULES)
    search = GradientSearch(chains=chains, steps=10**6).begin(problem, seed=0).to(device)
    optimizer = search.optimizer()

    def optimize(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    seconds = []
    for _ in range(count + 3):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        search.advance(optimize)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds[3:]


def peak_memory(chains: int, length: int, device: str) -> float:
    """Extra MiB at the peak of five steps, in a fresh process."""
    work = f"lambda: steps({chains}, {length}, 5, {device!r})"
    code = (
        "import torch\nfrom benchmarks._memory import peak_of\nfrom benchmarks.design.chains import steps\n"
        f"torch.set_num_threads(1)\nprint(peak_of({work}, {device!r}))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(found.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{arguments.length} bp, CTCF scan, 3 constraints, {device_name(arguments.device)}")
    cost = {}
    for chains in CHAINS:
        seconds = steps(chains, arguments.length, arguments.steps, arguments.device)
        cost[chains] = statistics.median(seconds) / chains * 1e6
        memory = peak_memory(chains, arguments.length, arguments.device)
        print(
            f"{chains:5d} chains: {cost[chains]:9.1f} us a step and chain, {cost[1] / cost[chains]:5.1f} times cheaper, "
            f"extra peak memory {memory:7.1f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
