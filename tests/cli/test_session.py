import os
import random
import sys
import warnings

import jsonargparse
import pytest
import torch

import discrete_lightning.cli.commands  # noqa: F401 - changes made by imports are not restored
from tests.cli.outcome import Cli


@pytest.mark.parametrize("arguments", [[], ["--model.width=0"], ["--model.widht=1"]], ids=["works", "fails", "misused"])
def test_global_state_is_put_back(toy: Cli, arguments: list[str]) -> None:
    def state() -> tuple[object, ...]:
        verdicts = jsonargparse._common.parsing_settings
        return (
            dict(os.environ),
            list(sys.argv),
            list(sys.path),
            list(warnings.filters),
            dict(verdicts),
            random.getstate(),
            torch.get_rng_state().tolist(),
            torch.are_deterministic_algorithms_enabled(),
            os.getcwd(),
        )

    before = state()
    toy("fit", "--trainer.deterministic=true", *arguments)
    assert state() == before


def test_lightnings_small_talk_is_kept_off_and_nothing_else(toy: Cli, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level("INFO", logger="lightning"),
        pytest.warns(UserWarning, match="smaller than the logging interval"),
    ):
        assert toy("fit", "--trainer.log_every_n_steps=50").code == 0
    assert [record.getMessage() for record in caplog.records] == []
