"""Searches with arguments that are classes, from a config: moves, schedules of a temperature."""

import csv
from pathlib import Path

import pytest

from discrete_lightning.cli import main

MOVES = {
    "gibbs": "GibbsMoves",
    "langevin": "{class_path: LangevinMoves, init_args: {step_size: 0.5, target_acceptance: null}}",
    "path": "{class_path: PathMoves, init_args: {flips: 3.0}}",
}


@pytest.mark.parametrize("moves", MOVES)
def test_moves_and_a_schedule(moves: str, tmp_path: Path) -> None:
    config = tmp_path / "chains.yaml"
    config.write_text(
        f"""
model:
  search:
    class_path: MetropolisSearch
    init_args:
      calls: 120
      chains: 10
      moves: {MOVES[moves]}
      temperature: {{class_path: Exponential, init_args: {{start: 0.1, rate: 3.0}}}}
"""
    )
    options = ["--wandb.enabled=false", f"--run_dir={tmp_path / 'run'}"]
    assert main(["fit", "-c", "design/quickstart", "-c", str(config), *options]) == 0
    with (tmp_path / "run" / "trajectory.csv").open(newline="") as file:
        assert list(csv.DictReader(file))
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        calls = [float(row["oracle_calls"]) for row in csv.DictReader(file) if row["oracle_calls"]]
    assert max(calls) == 120


def test_the_hypervolume_is_logged(tmp_path: Path) -> None:
    small = ["--model.search.init_args.calls=60", "--model.search.init_args.directions=3"]
    options = ["--wandb.enabled=false", f"--run_dir={tmp_path / 'run'}"]
    assert main(["fit", "-c", "design/front", *small, *options]) == 0
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    volumes = [float(row["hypervolume"]) for row in rows if row["hypervolume"]]
    assert volumes == sorted(volumes)
    assert volumes[-1] > 0
    assert float(rows[-1]["test/hypervolume"]) == volumes[-1]
