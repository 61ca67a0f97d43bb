from pathlib import Path
from typing import Any

import pytest

from tests.training.resumed_module import differences, fit

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulate_grad_batches": 2},
    "manual": {"model": {"manual": True}},
    "manual accumulation": {"model": {"manual": True, "gather": 2}},
    "validation in the epoch": {"val_check_interval": 2},
    "validation every second epoch": {"check_val_every_n_epoch": 2},
    "counted in steps": {"max_steps": 12, "max_epochs": -1},
    "plateau": {"model": {"plateau": True}},
    "stops early": {"patience": 1, "max_epochs": 8},
    "a stream": {"data": "stream"},
    "workers": {"data": "workers"},
    "several loaders": {"data": "several"},
    "a loader's generator": {"data": "own generator"},
    "fewer batches": {"limit_train_batches": 3},
    "reloaded": {"reload_dataloaders_every_n_epochs": 1},
}

pytestmark = pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual", "ignore:.*many workers.*")


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_fit_is_the_fit_that_was_never_cut(case: str, tmp_path: Path) -> None:
    options = CASES[case]
    whole = fit(tmp_path / "whole", **options)
    found = sorted((tmp_path / "whole").glob("*.ckpt"))
    assert len(found) >= 3
    for number, path in enumerate(found):
        resumed = fit(tmp_path / f"resumed{number}", path, **options)
        assert differences(whole, resumed) == [], path.name
