"""A learned temperature: a larger entropy bonus raises it."""

import pytest
import torch
import yaml

from discrete_lightning.catalog import config_root
from discrete_lightning.data import Digits
from discrete_lightning.estimators import GumbelSoftmax
from discrete_lightning.losses import EntropyBonus
from discrete_lightning.models import VQAutoencoder
from discrete_lightning.nn import GumbelQuantizer, Temperature


def final_temperature(choice_entropy: float, seed: int, steps: int = 60) -> float:
    torch.manual_seed(seed)
    temperature = Temperature(1.0, minimum=0.1, learnable=True)
    quantizer = GumbelQuantizer(16, 8, temperature=temperature)
    model = VQAutoencoder(quantizer, GumbelSoftmax(), choice_entropy=choice_entropy, hidden=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    images = next(iter(Digits(batch_size=32).train_dataloader()))[0]
    for _ in range(steps):
        loss = model.loss(model(images), images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return temperature().item()


@pytest.mark.parametrize("seed", [0, 1])
def test_more_entropy_bonus_means_a_higher_temperature(seed: int) -> None:
    # far larger weights make the logits themselves vanish, and with them the gradient to tau
    low, middle, high = (final_temperature(weight, seed) for weight in (0.0, 0.003, 0.01))
    assert low < middle < high
    assert high > 1.0  # driven up from where it started


def test_the_bonus_alone_raises_the_temperature() -> None:
    """The sign: d(-H)/dtau = -Var(logits) / tau^3 < 0 under softmax(logits / tau), by its closed form in float64."""
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tau = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    EntropyBonus(choice=1.0)(logits, tau).backward()
    p = torch.softmax(logits / 0.8, -1)
    variance = (p * logits.square()).sum(-1) - (p * logits).sum(-1).square()
    assert tau.grad is not None
    assert tau.grad.item() == pytest.approx(-(variance.mean() / 0.8**3).item(), rel=1e-5)


def test_the_shipped_config_learns_its_temperature() -> None:
    config = yaml.safe_load((config_root() / "vq" / "learned_temperature.yaml").read_text())
    arguments = config["model"]["init_args"]
    assert arguments["quantizer"]["init_args"]["temperature"]["init_args"]["learnable"] is True
    assert arguments["choice_entropy"] > 0
    assert "temperature" not in config  # nothing anneals it
