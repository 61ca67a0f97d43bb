"""A frozen quantiser stays as it is, to the bit, while what comes before and after it is trained; unfreezing goes on."""

import warnings
from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.callbacks import ChoiceMonitor
from discrete_lightning.nn import LearnedVectorQuantizer, Quantizer, VectorQuantizer, update_codebooks_after_step
from tests.vq.quantizers.makers import ALL, SINGLE, build, some_vectors


class Autoencoder(LightningModule):
    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.quantizer = nn.Linear(3, quantizer.dim), quantizer
        self.decoder = nn.Linear(quantizer.dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        result = self.quantizer(self.encoder(x))
        return (self.decoder(result.quantized) - x).square().mean() + result.loss

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        return self(batch[0])

    def configure_optimizers(self) -> Optimizer:
        return torch.optim.SGD([each for each in self.parameters() if each.requires_grad], lr=0.05)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {key for key, value in module.state_dict().items() if not torch.equal(value, before[key])}


def train(model: nn.Module, optimizer: Optimizer, steps: int = 3, seed: int = 0) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        model(some_vectors(30, 3, seed=seed + step) + 0.1 * seed).backward()
        optimizer.step()


def by_hand(model: Autoencoder) -> None:
    for each in model.quantizer.parameters():
        each.requires_grad = False


def whole_model(model: Autoencoder) -> None:
    model.requires_grad_(False)
    for part in (model.encoder, model.decoder):
        part.requires_grad_(True)


WAYS: dict[str, Callable[[Autoencoder], object]] = {
    "freeze": lambda model: model.quantizer.freeze(),
    "requires_grad_": lambda model: model.quantizer.requires_grad_(False),
    "of the model": whole_model,
    "parameters": by_hand,
    "BaseFinetuning": lambda model: BaseFinetuning.freeze(model.quantizer),
}


CASES = [(name, "freeze", False) for name in ALL] + [
    (name, way, bound)
    for name in ("ema", "learned", "residual_ema", "gumbel")
    for way in WAYS
    for bound in (False, True)
]


@pytest.mark.parametrize(("name", "way", "bound"), CASES)
def test_nothing_moves_and_no_warning_comes(name: str, way: str, bound: bool) -> None:
    model = Autoencoder(build(name))
    optimizer = model.configure_optimizers()
    if bound:
        update_codebooks_after_step(model, optimizer)
    train(model, optimizer, steps=2)
    model.zero_grad()
    WAYS[way](model)
    assert model.quantizer.frozen
    before, weight = state(model.quantizer), model.encoder.weight.detach().clone()
    train(model, optimizer, seed=9)
    assert changed(before, model.quantizer) == set()
    assert not torch.equal(weight, model.encoder.weight)
    model.quantizer.unfreeze()
    train(model, optimizer, steps=1, seed=20)
    moved = changed(before, model.quantizer)
    assert any(key.endswith("codes") for key in before) == any(key.endswith("codes") for key in moved)
    for key in moved:
        if key.endswith("updates"):
            assert model.quantizer.state_dict()[key] == before[key] + 1


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("vectors", ["trained", "of a frozen network"])
def test_frozen_from_the_first_pass(name: str, vectors: str) -> None:
    """No start, no revival, and nothing that is collected or warned of."""
    model = Autoencoder(build(name).freeze())
    model.encoder.requires_grad_(vectors == "trained")
    before = state(model.quantizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, model.configure_optimizers(), steps=4)
    assert changed(before, model.quantizer) == set()
    assert not any(getattr(each, "windows", None) for each in model.quantizer.modules())
    model.quantizer.unfreeze()
    train(model, model.configure_optimizers(), steps=1)
    assert all(each.started for each in model.quantizer.modules() if hasattr(each, "started"))


@pytest.mark.parametrize("name", ["ema", "learned", "residual_ema"])
def test_a_pass_that_waits_for_its_step_is_dropped(name: str) -> None:
    model = Autoencoder(build(name))
    optimizer = model.configure_optimizers()
    train(model, optimizer, steps=1)
    model(some_vectors(60, 3)).backward()
    model.quantizer.freeze()
    before = state(model.quantizer)
    for each in model.quantizer.parameters():
        each.grad = None
    optimizer.step()
    assert changed(before, model.quantizer) == set()


@pytest.mark.parametrize("make", [lambda: VectorQuantizer(8, 4), lambda: LearnedVectorQuantizer(8, 4)])
def test_lightning_finetunes(make: Callable[[], Quantizer], tmp_path: object) -> None:
    """Frozen for an epoch and unfrozen after it; the monitor counts throughout."""
    seen: list[Tensor] = []

    class Finetune(BaseFinetuning):
        def freeze_before_training(self, pl_module: LightningModule) -> None:
            self.freeze(pl_module.quantizer)

        def finetune_function(self, pl_module: LightningModule, epoch: int, optimizer: Optimizer) -> None:
            seen.append(pl_module.quantizer.codes.detach().clone())
            if epoch == 2:
                self.unfreeze_and_add_param_group(pl_module.quantizer, optimizer)

    model, monitor = Autoencoder(make()), ChoiceMonitor(filename=None)
    data = DataLoader(TensorDataset(some_vectors(96, 3)), 32)
    trainer = Trainer(
        max_epochs=3, callbacks=[Finetune(), monitor], logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=str(tmp_path),
    )  # fmt: skip
    trainer.fit(model, data)
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[2], model.quantizer.codes)
    assert any(key.endswith("live_share") for key in trainer.callback_metrics)


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own, traced
@pytest.mark.parametrize("name", ["ema", "learned"])
def test_a_frozen_codebook_compiles_whole(name: str) -> None:
    model = Autoencoder(build(name).freeze())
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = some_vectors(20, 3)
    torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("name", SINGLE)
def test_what_has_nothing_to_learn_is_frozen(name: str) -> None:
    assert build(name).frozen == (name in ("finite_scalar", "lookup_free", "perturbation"))
