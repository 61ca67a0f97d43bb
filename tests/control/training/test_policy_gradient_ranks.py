"""Two ranks with 4 environments do what one process with 8 does: figures, statistics and weights after several updates."""

import os
import socket
from typing import Any

import pytest
import torch

from discrete_lightning.control.bonuses import CountBonus
from discrete_lightning.control.methods import PPO
from discrete_lightning.layers.temperature import Temperature
from tests.control.training.agents import METHODS, assert_equal_states, fitted, tiny_agent, tiny_environments
from tests.ranks import run_on_ranks


def _cases() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Arguments of model and data by name."""
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        type(each).__name__: ({"method": each, "norm_observations": True}, {}) for each in METHODS
    }
    found["PPO"][0].update(norm_rewards=True, objective="maximum_entropy")
    found["REINFORCE"][0].update(norm_rewards=True)
    found["normed PPO"] = (
        {"method": PPO(epochs=2, batch_size=24), "normed": True, "temperature": Temperature(1.0, learnable=True)}, {}
    )  # fmt: skip
    found["bonus"] = (
        {"method": PPO(epochs=2, batch_size=5), "bonus": CountBonus(), "hidden": []}, {"environment": "DeepSea", "steps": 3}
    )  # fmt: skip
    found["early stop"] = ({"method": PPO(epochs=9, batch_size=16, target_kl=1e-3), "learning_rate": 0.03}, {})
    return found


CASES = list(_cases())


def _fit(name: str, number: int, **options: Any) -> Any:
    model, data = _cases()[name]
    return fitted(tiny_agent(**model), tiny_environments(number, **data), **options)


def _on_a_rank(port: int) -> list[Any]:
    os.environ |= {
        "RANK": str(torch.distributed.get_rank()), "LOCAL_RANK": str(torch.distributed.get_rank()), "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    return [_fit(name, 4, strategy="ddp", devices=2) for name in CASES]


@pytest.fixture(scope="module")
def ranks() -> list[list[Any]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return run_on_ranks(_on_a_rank, port)


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_are_one_process(ranks: list[list[Any]], name: str) -> None:
    expected, figures = _fit(name, 8)
    assert len(figures) == 3
    assert figures[-1]["train/loss"] != 0  # it learns
    for each in ranks:
        found, rows = each[CASES.index(name)]
        assert_equal_states(found, expected, 2e-6)
        for ours, reference in zip(rows, figures, strict=True):
            assert ours == pytest.approx(reference, rel=1e-4, abs=1e-5, nan_ok=True)
    first, second = (each[CASES.index(name)][0] for each in ranks)
    assert_equal_states(first, second)
