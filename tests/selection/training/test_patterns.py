"""A network trained dense and then masked, in one fit: what rests, what is measured, what is deployed."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from discrete_lightning.callbacks import ChoiceMonitor, LearningRateAnnealing, TemperatureAnnealing
from discrete_lightning.estimators import LeaveOneOut, ReinMax, Softmax
from discrete_lightning.schedules import Cosine, Delayed, Linear
from discrete_lightning.selection import magnitude_pattern
from discrete_lightning.selection.networks import GatedTransformer
from discrete_lightning.selection.training import PatternLearning, gap_closed
from tests.tiny_images import TinyImages, quiet_trainer
from tests.tiny_tokens import TinyText

SIZES: dict[str, Any] = {"vocabulary": 10, "context": 8, "dim": 8, "heads": 2, "layers": 1, "hidden": 16, "gate": None}


def model(**arguments: Any) -> PatternLearning:
    seed_everything(0, verbose=False)
    return PatternLearning(GatedTransformer(**SIZES), only="blocks.*", **arguments)


def weights(found: PatternLearning) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in found.network.named_parameters()}


def logits(found: PatternLearning) -> list[Tensor]:
    return [mask.logits.detach().clone() for mask, _ in found.weights().values()]


def fit(found: LightningModule, *callbacks: Callback, epochs: int = 2, **arguments: Any) -> Trainer:
    trainer = quiet_trainer(max_epochs=epochs, callbacks=list(callbacks), limit_val_batches=1, **arguments)
    trainer.fit(found, TinyText())
    return trainer


class Watch(Callback):
    """What changed in each step."""

    def __init__(self) -> None:
        self.changed: list[tuple[bool, bool, bool]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *arguments: Any) -> None:
        self.before = weights(pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.logits = logits(pl_module)  # the prior is set

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *arguments: Any) -> None:
        after, rates = weights(pl_module), [group["lr"] for group in trainer.optimizers[0].param_groups]
        trained = any(not torch.equal(after[name], each) for name, each in self.before.items())
        pairs = zip(self.logits, logits(pl_module), strict=True)
        learned = any(not torch.equal(a, b) for a, b in pairs)
        self.changed.append((pl_module.learning_masks, trained, learned))
        assert all(rate > 0 for rate in rates)


def test_weights_are_trained_and_then_masks() -> None:
    watch = Watch()
    fit(model(dense_share=0.5), watch)
    assert watch.changed == [(False, True, False)] * 12 + [(True, False, True)] * 12


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_network_that_is_trained_already(accumulate: int) -> None:
    found = model(dense_share=0.0)
    before = weights(found)
    fit(found, accumulate_grad_batches=accumulate)
    assert found.learning_masks
    after = weights(found)
    assert all(torch.equal(after[name], each) for name, each in before.items())


def test_the_prior_is_that_of_the_trained_weights() -> None:
    found = model(dense_share=0.5, mask_learning_rate=1e-9)
    fit(found)
    for mask, weight in found.weights().values():
        assert torch.equal(mask.eval().mask(), magnitude_pattern(weight))


def test_what_rests_keeps_still_with_dropout_and_batch_norm() -> None:
    layers = (nn.Flatten(), nn.Linear(784, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 10))
    found = PatternLearning(nn.Sequential(*layers), dense_share=0.0)
    before = copy.deepcopy(found.network.state_dict())
    quiet_trainer(max_epochs=1).fit(found, TinyImages(batch_size=8))
    after = found.network.state_dict()
    assert all(torch.equal(after[name], each) for name, each in before.items())


def test_figures_are_those_of_the_three_networks() -> None:
    found = model()
    trainer = fit(found)
    figures = trainer.test(found, TinyText(), verbose=False)[0]
    data = TinyText()
    data.setup()
    batches = [found.examples(batch) for batch in data.test_dataloader()]
    inputs, targets = (torch.cat([batch[i] for batch in batches]) for i in (0, 1))  # type: ignore[misc]
    pruned = copy.deepcopy(found.network)
    for name, (_, weight) in found.weights().items():
        pruned.get_parameter(name).data.mul_(magnitude_pattern(weight))
    networks = {"dense_nats": found.network, "magnitude_nats": pruned, "nats": found.sparse_network()}
    with torch.no_grad():
        expected = {
            name: nn.functional.cross_entropy(each.eval()(inputs).flatten(0, 1), targets.long().flatten()).item()
            for name, each in networks.items()
        }
    expected["gap_closed"] = (expected["magnitude_nats"] - expected["nats"]) / (
        expected["magnitude_nats"] - expected["dense_nats"]
    )
    assert figures == pytest.approx({f"test/{name}": value for name, value in expected.items()}, rel=1e-3)


def test_the_share_of_a_gap() -> None:
    dense, magnitude = torch.tensor(1.0), torch.tensor(3.0)
    found = [gap_closed(dense, magnitude, torch.tensor(each)).item() for each in (3.0, 1.5, 1.0, 0.5, 4.0)]
    assert found == [0.0, 0.75, 1.0, 1.25, -0.5]


def test_before_masks_are_learned_they_are_those_of_magnitude() -> None:
    found = model()
    figures = quiet_trainer().test(found, TinyText(), verbose=False)[0]
    assert figures["test/nats"] == figures["test/magnitude_nats"] != figures["test/dense_nats"]
    assert figures["test/gap_closed"] == 0


def test_the_deployed_network_is_plain_and_equal() -> None:
    found = model(estimator=ReinMax())
    fit(found)
    tokens = torch.arange(16).view(2, 8) % 10
    sparse = found.sparse_network()
    assert torch.equal(sparse.eval()(tokens), found.eval()(tokens))
    assert sparse.state_dict().keys() == found.network.state_dict().keys()
    for name, (mask, _) in found.weights().items():
        kept = (sparse.get_parameter(name) != 0).unflatten(1, (-1, mask.m)).sum(-1)
        assert (kept == mask.n).all()
    assert not torch.equal(sparse.head.weight == 0, torch.ones_like(sparse.head.weight, dtype=torch.bool))
    found.train()
    found.sparse_network()
    assert found.network.training


class InOrder(TinyText):
    def train_dataloader(self) -> Any:
        return self._loader("train")


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("epochs", [1, 2])
def test_resumed_it_goes_on_exactly(epochs: int, tmp_path: Path) -> None:
    """From the dense part, and from that of the masks; with an estimator that draws nothing, as noise is not saved."""

    def run(found: PatternLearning, **arguments: Any) -> None:
        annealing = TemperatureAnnealing(Delayed(Linear(4.0, 0.1, steps=0.5), 0.5), count="progress")
        saver = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}")
        trainer = quiet_trainer(max_epochs=3, callbacks=[annealing, saver], enable_checkpointing=True)
        trainer.fit(found, InOrder(), **arguments)

    whole, resumed = (model(dense_share=0.5, estimator=Softmax()) for _ in range(2))
    run(whole)
    run(resumed, ckpt_path=tmp_path / f"epoch={epochs - 1}.ckpt", weights_only=True)
    found, expected = resumed.state_dict(), whole.state_dict()
    assert found["learning_masks"]
    assert all(torch.equal(found[name], each) for name, each in expected.items())


def test_a_checkpoint_makes_the_model(tmp_path: Path) -> None:
    found = model(estimator=ReinMax(), n=1)
    trainer = fit(found)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = PatternLearning.load_from_checkpoint(tmp_path / "model.ckpt")
    tokens = torch.arange(16).view(2, 8) % 10
    assert torch.equal(again.eval()(tokens), found.eval()(tokens))
    assert again.learning_masks


def test_callbacks_find_choices_and_the_temperature() -> None:
    found = model(dense_share=0.0)
    monitor = ChoiceMonitor(filename=None)
    annealing = TemperatureAnnealing(Linear(4.0, 0.5, steps=1), count="progress")
    trainer = fit(found, monitor, annealing)
    assert len(monitor.layers(found)) == 4
    assert float(trainer.callback_metrics["temperature"]) == pytest.approx(0.5, abs=0.2)
    assert "choices/masks.blocks/1/layer/0.sampler/perplexity" in trainer.callback_metrics


def test_a_network_that_is_one_layer() -> None:
    found = PatternLearning(nn.Linear(8, 3)).eval()
    assert list(found.weights()) == ["weight"]
    assert found(torch.ones(2, 8)).shape == (2, 3)
    assert int((found.sparse_network().weight != 0).sum()) == 12  # type: ignore[arg-type]


def test_predictions_are_the_likeliest() -> None:
    found = model().eval()
    tokens = torch.arange(16).view(2, 8) % 10
    assert torch.equal(found.predict_step((tokens, tokens), 0)["predictions"], found(tokens).argmax(-1))


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match=r"dense_share is the share of the run .* got 1"):
        model(dense_share=1.0)
    with pytest.raises(ValueError, match="needs the loss's value"):
        model(estimator=LeaveOneOut(2))
    with pytest.raises(ValueError, match="nothing in GatedTransformer matches only=layers"):
        PatternLearning(GatedTransformer(**SIZES), only="layers")
    with pytest.raises(ValueError, match="two schedules for one number: LearningRateAnnealing"):
        fit(model(), LearningRateAnnealing(Cosine(0.1, 0.0, steps=1)))
    found = model()
    with pytest.raises(ValueError, match="the data served no targets"):
        found.check_batch(torch.zeros(2, 8))
    with pytest.raises(ValueError, match=r"targets of torch\.float32"):
        found.check_batch((torch.zeros(2, 8), torch.zeros(2, 8)))
    with pytest.raises(ValueError, match=r"gives logits \(2, 10\) for targets \(2, 8\)"):
        found.losses(torch.zeros(2, 10), torch.zeros(2, 8).long())
    with pytest.raises(ValueError, match=r"at most context=8 tokens, and the data serves 9"):
        found(torch.zeros(2, 9).long())
    with pytest.raises(ValueError, match="dim must be a multiple of heads"):
        GatedTransformer(dim=10, heads=4)


def test_a_token_sees_itself_and_earlier_ones() -> None:
    network, tokens = model().network, torch.arange(8).view(1, 8)
    changed = tokens.clone()
    changed[0, 5] = 9
    before, after = network(tokens), network(changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).any(-1).all()
