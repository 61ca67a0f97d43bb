"""The second-order gradient in a run against autograd through the step."""

import copy
import functools
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from discrete_lightning.models import (
    SecondOrderDARTS,
)
from discrete_lightning.nas import (
    unrolled_gradient,
    weight_parameters,
)
from tests.tiny_images import FAST, quiet_trainer, tiny_search, tiny_split


def test_second_order_gradient_is_that_of_the_unrolled_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact, by autograd through a step of SGD with momentum, after steps that filled the momentum."""
    # a smaller difference than the paper's, which this small network's kinks would spoil
    fine = functools.partial(unrolled_gradient, radius=1e-6)
    monkeypatch.setattr("discrete_lightning.nas.training.gradients.unrolled_gradient", fine)
    found: dict[str, Any] = {}

    class Spy(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 3:
                found["network"] = copy.deepcopy(pl_module.network)
                sgd = trainer.optimizers[0]
                momentum = [sgd.state[each]["momentum_buffer"].clone() for each in weight_parameters(pl_module.network)]
                found["momentum"], found["batch"] = momentum, batch

        def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
            if isinstance(optimizer, torch.optim.SGD):
                found["rate"] = optimizer.param_groups[0]["lr"]
            elif trainer.fit_loop.epoch_loop.batch_progress.current.ready == 4:
                found["gradient"] = pl_module.choice.logits.grad.clone()

    search = tiny_search(SecondOrderDARTS(), optimizers=type(FAST)(learning_rate=0.2, weight_decay=0.01))
    trainer = quiet_trainer(callbacks=[Spy()], limit_val_batches=0, limit_train_batches=4, precision="64-true")
    trainer.fit(search, tiny_split())
    network = found["network"].double()
    alpha, names = network.choice.logits, {id(value): name for name, value in network.named_parameters()}
    weights = weight_parameters(network)

    def loss(values: list[Tensor], which: str) -> Tensor:
        images, labels = found["batch"][which]
        given = {names[id(weight)]: value for weight, value in zip(weights, values, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(network, given, (images.double(),)), labels)

    def exact(rate: float, momentum: float) -> Tensor:
        slopes = torch.autograd.grad(loss(weights, "weights"), weights, create_graph=True)
        steps = [
            weight - rate * (momentum * buffer + slope + 0.01 * weight)
            for weight, buffer, slope in zip(weights, found["momentum"], slopes, strict=True)
        ]
        return torch.autograd.grad(loss(steps, "architecture"), alpha)[0]

    expected = exact(found["rate"], 0.9)
    error = (found["gradient"] - expected).norm()
    assert error < 0.02 * (exact(0.0, 0.9) - expected).norm()  # of what the second order and
    assert error < 0.02 * (exact(found["rate"], 0.0) - expected).norm()  # the momentum make of it
