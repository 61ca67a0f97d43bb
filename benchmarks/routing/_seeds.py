"""A config of the family, run once for each seed and router, with its results on the test split."""

import argparse
import csv
import statistics
import tempfile
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from discrete_lightning.cli import main as discrete_lightning

FIGURES = ("error", "dense_error", "expert_source_nmi", "load_violation", "dead_experts")


def run(config: str, seed: int, router: str | None) -> dict[str, float]:
    """The figures of one run on the test split."""
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--seed_everything={seed}", f"--data.seed={seed}", f"--run_root={folder}", "--wandb.enabled=false"]
        options += [] if router is None else [f"--model.feed_forward.router={router}"]
        printed = StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            code = discrete_lightning(["fit", "-c", config, *options])
        if code:
            raise RuntimeError(printed.getvalue())
        with next(Path(folder).rglob("metrics.csv")).open() as file:
            rows = list(csv.DictReader(file))
    return {name: float(next(row[f"test/{name}"] for row in rows if row.get(f"test/{name}"))) for name in FIGURES}


def main(config: str, description: str) -> None:
    """Parses the command line, and prints a line a run and a line a router."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--routers", nargs="+", default=None, help="words or names of estimators, in the config's place"
    )
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    for router in arguments.routers or [None]:
        runs = []
        name = router or "as configured"
        for seed in arguments.seeds:
            figures = run(config, seed, router)
            runs.append(figures)
            print(
                f"{name:<16}seed {seed}   error {figures['error']:.4f}   dense {figures['dense_error']:.4f}   "
                f"NMI {figures['expert_source_nmi']:.3f}   violation {figures['load_violation']:.2f}   "
                f"dead {figures['dead_experts']:.0f}",
                flush=True,
            )
        errors, dense, nmi = ([each[figure] for each in runs] for figure in FIGURES[:3])
        print(
            f"{name:<16}error {statistics.mean(errors):.4f} (at most {max(errors):.4f})   dense "
            f"{statistics.mean(dense):.4f} (at least {min(dense):.4f})   NMI {statistics.mean(nmi):.3f} (at least "
            f"{min(nmi):.3f})   below dense in {sum(a < b for a, b in zip(errors, dense, strict=True))} of {len(runs)} seeds",
            flush=True,
        )
