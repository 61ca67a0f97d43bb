"""LearnedTemperature on a rank of two."""

import os

import torch

from discrete_lightning.control.training.learned_temperature import LearnedTemperature
from tests.tiny_images import quiet_trainer


def learned_on_a_rank(port: int) -> list[list[float]]:
    """The temperatures of a run with exact gradients and of one with episodes."""
    os.environ |= {
        "RANK": str(torch.distributed.get_rank()), "LOCAL_RANK": str(torch.distributed.get_rank()),
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    return [temperatures(gradient, strategy="ddp", devices=2) for gradient in ("exact", "episodes")]


def temperatures(gradient: str, **arguments: object) -> list[float]:
    model = LearnedTemperature(
        betas=[0.1, 0.3],
        logits="learned",
        gradient=gradient,
        updates=5,
        episodes=4,  # type: ignore[arg-type]
    )
    trainer = quiet_trainer(fast_dev_run=5, **arguments)
    trainer.fit(model)
    return model.temperatures().tolist()
