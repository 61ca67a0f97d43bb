"""A learned temperature: a larger entropy bonus raises it."""

import math

import pytest
import torch
import yaml

from discrete_lightning.catalog import config_root
from discrete_lightning.data import Digits
from discrete_lightning.estimators import GumbelSoftmax
from discrete_lightning.losses import EntropyBonus
from discrete_lightning.models import VQAutoencoder
from discrete_lightning.nn import (
    GumbelQuantizer,
    LargeGumbelQuantizer,
    LinearGumbelQuantizer,
    ProductQuantizer,
    ResidualQuantizer,
    Temperature,
)
from tests.tiny_images import TinyImages, quiet_trainer


def final_temperature(choice_entropy: float, seed: int, steps: int = 60) -> float:
    torch.manual_seed(seed)
    temperature = Temperature(1.0, minimum=0.1, learnable=True)
    quantizer = LinearGumbelQuantizer(16, 8, temperature=temperature)
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


def several(shared: bool = False) -> VQAutoencoder:
    """Stages of products, each with a learned temperature of its own but one, which is fixed, or all with one."""
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(
        ProductQuantizer(
            GumbelQuantizer(6, 2, GumbelSoftmax(), Temperature(0.8, 0.1, learnable=True), sharpness=0.5), 2
        ),
        2,
    )
    parts = list(quantizer.codebooks())
    for i, part in enumerate(parts):
        assert isinstance(part, GumbelQuantizer)
        if shared:
            part.sample.temperature = parts[0].sample.temperature  # type: ignore[union-attr]
        elif i == 2:
            part.sample.temperature = Temperature(0.5)
        else:
            torch.nn.init.constant_(part.sample.temperature.raw, 0.3 * i - 0.5)
    return VQAutoencoder(quantizer, choice_entropy=0.7, marginal_entropy=0.4, hidden=4)


@pytest.mark.parametrize("shared", [False, True])
def test_the_bonus_reaches_every_learned_temperature(shared: bool) -> None:
    """The gradients are those of the bonus in float64, one codebook at a time; a fixed temperature does not divide."""
    model = several(shared)
    images = torch.rand(3, 1, 8, 8)
    output = model(images)
    assert output.quantized.logits is not None
    logits = output.quantized.logits.detach()
    learned = [each for each in model.modules() if isinstance(each, Temperature) and each.learnable]
    assert len(learned) == (1 if shared else 3)
    output = output._replace(quantized=output.quantized._replace(logits=logits, loss=torch.zeros(())))
    parameters = [each.raw for each in learned]
    loss = model.loss(output._replace(images=output.images.detach()), images)
    found = torch.autograd.grad(loss, parameters)

    raws = {id(each): each.raw.detach().double().requires_grad_() for each in learned}
    bonus = torch.zeros((), dtype=torch.float64)
    for codebook, values in zip(model.quantizer.codebooks(), logits.double().flatten(-3, -2).unbind(-2), strict=True):
        temperature = codebook.sample.temperature  # type: ignore[union-attr]
        raw = raws.get(id(temperature))
        tau = 1.0 if raw is None else 0.1 + torch.nn.functional.softplus(raw)
        log_p = torch.log_softmax(values.flatten(0, -2) / tau, -1)
        used = torch.logsumexp(log_p, 0) - math.log(len(log_p))
        choice, used = -(log_p.exp() * log_p).sum(-1).mean(), -(used.exp() * used).sum()
        bonus = bonus - (0.7 * choice + 0.4 * used) / 4
    expected = torch.autograd.grad(bonus, [raws[id(each)] for each in learned])
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)
        assert ours.item() < 0  # a step of descent raises the temperature


@pytest.mark.parametrize("shared", [False, True])
def test_the_bonus_for_undecided_choices_moves_no_vector_whose_temperature_is_learned(shared: bool) -> None:
    """Vectors could earn it by moving away from all codes."""
    model = several(shared)
    model.bonus.marginal.set(0.0)
    images = torch.rand(3, 1, 8, 8)
    output = model(images)
    logits = output.quantized.logits.detach().requires_grad_()
    output = output._replace(quantized=output.quantized._replace(logits=logits, loss=torch.zeros(())))
    loss = model.loss(output._replace(images=output.images.detach()), images)
    (found,) = torch.autograd.grad(loss, logits, allow_unused=True, materialize_grads=True)
    moved = [bool(each.any()) for each in found.flatten(-3, -2).unbind(-2)]
    assert moved == [not shared and i == 2 for i in range(4)]


def test_codes_live_with_a_large_bonus_and_a_learned_temperature() -> None:
    """Of two seeds together: single ones differ by a fifth, also by rounding (seen: 49, 55 and 48 of 64)."""
    live = [0, 0, 0]
    for seed in (1, 2):
        for i, weight in enumerate((0.0, 0.01, 0.1)):
            torch.manual_seed(seed)
            quantizer = GumbelQuantizer(32, 8, temperature=Temperature(4.0, 0.1, learnable=True))
            model = VQAutoencoder(quantizer, choice_entropy=weight, hidden=8)
            optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
            images = next(iter(Digits(batch_size=64).train_dataloader()))[0]
            for _ in range(60):
                loss = model.loss(model(images), images)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            live[i] += len(model.eval().encode(images).indices.unique())
    assert min(live[1:]) >= 0.9 * live[0] > 32


def test_several_learned_temperatures_are_logged_by_name() -> None:
    model = several()
    trainer = quiet_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(model, TinyImages(batch_size=8))
    names = [name for name in trainer.callback_metrics if name.startswith("temperature/")]
    assert len(names) == 3
    assert "temperature/quantizer.quantizers.0.quantizers.0.sample.temperature" in names


@pytest.mark.parametrize("learnable", [False, True])
def test_the_bonus_of_a_large_codebook_is_that_of_a_small_one(learnable: bool) -> None:
    """Loss and gradients, to the temperature too, equal those of EntropyBonus on all logits."""
    torch.manual_seed(0)
    large = LargeGumbelQuantizer(
        9, 4, Temperature(0.6, 0.1, learnable=learnable), choice_entropy=0.7, marginal_entropy=0.4
    )
    vectors = torch.randn(20, 4)
    parameters = [*large.to_logits.parameters(), *large.temperature.parameters()]
    found = torch.autograd.grad(large(vectors).loss, parameters)
    tau = large.temperature() if learnable else 1.0
    expected = torch.autograd.grad(EntropyBonus(0.7, 0.4)(large.to_logits(vectors), tau), parameters)
    torch.testing.assert_close(found, expected)
    assert len(found) == 2 + learnable
