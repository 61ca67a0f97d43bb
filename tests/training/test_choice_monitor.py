"""ChoiceMonitor on modules of a user's own: what counts and what does not, names, warnings, nothing left after a fit."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.callbacks import ChoiceMonitor, CodebookMonitor, GradientProbe
from discrete_lightning.estimators import GumbelSoftmax, StraightThroughGumbel
from discrete_lightning.layers.choices import Choices, choices_made
from discrete_lightning.nn import (
    GumbelQuantizer,
    RelaxedBernoulli,
    RelaxedCategorical,
    RelaxedSubset,
    relaxed,
)

K, BATCH, BATCHES = 5, 8, 4


def data() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(BATCH * BATCHES, K, generator=generator)), batch_size=BATCH)


def trainer(folder: Path, *callbacks: Any, epochs: int = 1) -> Trainer:
    return Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), logger=False, default_root_dir=folder,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=2,
    )  # fmt: skip


class Chooser(LightningModule):
    """One layer that chooses, of logits W x."""

    def __init__(self, layer: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.logits = nn.Linear(K, K)
        self.router = RelaxedCategorical() if layer is None else layer

    def choose(self, x: Tensor) -> Tensor:
        return self.router(self.logits(x))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.choose(batch[0]).square().mean() + self.logits.weight.sum()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.choose(batch[0])
        with relaxed(self):
            self.choose(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Counted(ChoiceMonitor):
    """Keeps the positions that were counted in each epoch."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(filename=None, **arguments)
        self.positions: list[int] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.positions.append(sum(int(use.positions.max()) for use in self._uses.values()))
        super().on_train_epoch_end(trainer, pl_module)


def counted(folder: Path, model: Chooser, *callbacks: Any, epochs: int = 1, **arguments: Any) -> list[int]:
    monitor = Counted(**arguments)
    trainer(folder, *callbacks, monitor, *callbacks, epochs=epochs).fit(model, data(), data())
    return monitor.positions


CATEGORIES = {"live_share", "perplexity", "load_violation", "dominant_share", "choice_entropy", "marginal_entropy"}
GATES = {"open_share", "always_open_share", "always_closed_share", "choice_entropy", "marginal_entropy"}


@pytest.mark.parametrize(
    ("layer", "figures"),
    [(RelaxedCategorical(), CATEGORIES), (RelaxedBernoulli(), GATES), (RelaxedSubset(2), CATEGORIES)],
)
def test_logs_the_figures_of_each_kind_and_draws(tmp_path: Path, layer: nn.Module, figures: set[str]) -> None:
    loop = trainer(tmp_path, ChoiceMonitor())
    loop.fit(Chooser(layer), data(), data())
    assert set(loop.callback_metrics) == {f"choices/{name}" for name in figures}
    with Image.open(tmp_path / "choices.png") as picture:
        assert min(picture.size) > 100


def test_usage_is_that_of_the_samples(tmp_path: Path) -> None:
    """Of relaxed samples too, by their largest entry; entropies are those of every second batch."""
    seen: list[tuple[Tensor, Tensor]] = []

    class Recorded(Chooser):
        def choose(self, x: Tensor) -> Tensor:
            logits = self.logits(x)
            sample = self.router(logits)
            if self.trainer.training:
                seen.append((logits.detach(), sample.detach()))
            return sample

    loop = trainer(tmp_path, ChoiceMonitor())
    loop.fit(Recorded(RelaxedCategorical(GumbelSoftmax(), 3.0)), data(), data())
    usage = torch.cat([sample for _, sample in seen]).argmax(-1).bincount(minlength=K).double() / (BATCH * BATCHES)
    expected = torch.distributions.Categorical(probs=usage).entropy().exp()
    assert loop.callback_metrics["choices/perplexity"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert loop.callback_metrics["choices/dominant_share"].item() == pytest.approx(usage.max().item())
    logits = torch.cat([logits for logits, _ in seen[::2]]).double()
    entropy = torch.distributions.Categorical(logits=logits).entropy().mean()
    assert loop.callback_metrics["choices/choice_entropy"].item() == pytest.approx(entropy.item(), rel=1e-5)


def test_validation_and_passes_outside_of_training_batches_do_not_count(tmp_path: Path) -> None:
    class Between(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
            pl_module.choose(torch.zeros(3, K))

    assert counted(tmp_path, Chooser(), Between(), epochs=2) == [BATCH * BATCHES] * 2


def test_a_layer_called_twice_and_without_a_gradient_counts_each_call(tmp_path: Path) -> None:
    class Twice(Chooser):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            with torch.no_grad():
                self.choose(batch[0])
            self.router.eval()
            self.choose(batch[0])  # in eval(): no exploration
            self.router.train()
            return super().training_step(batch, batch_idx)

    assert counted(tmp_path, Twice()) == [2 * BATCH * BATCHES]


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_pass_that_checkpointing_repeats_counts_once(tmp_path: Path, reentrant: bool) -> None:
    passes = []

    class Saving(Chooser):
        def choose(self, x: Tensor) -> Tensor:
            def run(logits: Tensor) -> Tensor:
                passes.append(self.training)
                return self.router(logits)

            if not self.training:
                return self.router(self.logits(x))
            return checkpoint(run, self.logits(x), use_reentrant=reentrant)

    assert counted(tmp_path, Saving()) == [BATCH * BATCHES]
    assert sum(passes) == 2 * BATCHES


@pytest.mark.filterwarnings("ignore")  # torch's own while it compiles
def test_compiled_layers_count_in_every_fit(tmp_path: Path) -> None:
    model = Chooser()
    compiled, plain = torch.compile(model.choose, backend="eager"), model.choose
    model.choose = lambda x: (compiled if model.training else plain)(x)  # type: ignore[method-assign]
    assert counted(tmp_path, model, epochs=2) == [BATCH * BATCHES] * 2
    assert counted(tmp_path, model, epochs=2) == [BATCH * BATCHES] * 2


class Failing(Callback):
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        raise RuntimeError("in the middle")


@pytest.mark.parametrize("kind", [ChoiceMonitor, CodebookMonitor])
def test_an_exception_leaves_no_hook_and_the_next_fit_counts_once(tmp_path: Path, kind: type[ChoiceMonitor]) -> None:
    model = Chooser(GumbelQuantizer(6, K)) if kind is CodebookMonitor else Chooser()
    if kind is CodebookMonitor:
        model.choose = lambda x: model.router(x).quantized  # type: ignore[method-assign]
    monitor = kind(filename=None)
    with pytest.raises(RuntimeError, match="in the middle"):
        trainer(tmp_path, monitor, Failing()).fit(model, data(), data())
    assert not model.router._forward_hooks
    for _ in range(2):
        monitor_again = Counted()
        trainer(tmp_path, monitor, monitor_again).fit(model, data(), data())
        assert monitor_again.positions == [BATCH * BATCHES]
        assert not model.router._forward_hooks


def test_a_deep_copy_of_the_module_does_not_count(tmp_path: Path) -> None:
    class Copying(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            copy.deepcopy(pl_module).router(torch.zeros(3, K))

    probe = GradientProbe(1, samples=2, reference_samples=2)
    assert counted(tmp_path, Chooser(), Copying(), probe) == [BATCH * BATCHES]


def test_only_and_the_names_of_several_layers(tmp_path: Path) -> None:
    class Several(Chooser):
        def __init__(self) -> None:
            super().__init__(nn.ModuleDict({"a": RelaxedCategorical(), "b": RelaxedBernoulli(), "c": RelaxedSubset(1)}))

        def choose(self, x: Tensor) -> Tensor:
            return sum(layer(self.logits(x)) for layer in self.router.values())  # type: ignore[operator, return-value]

    loop = trainer(tmp_path, ChoiceMonitor())
    loop.fit(Several(), data(), data())
    assert {name.rpartition("/")[0] for name in loop.callback_metrics} == {f"choices/router.{name}" for name in "abc"}
    loop = trainer(tmp_path, ChoiceMonitor(only="*.b"))
    loop.fit(Several(), data(), data())
    assert set(loop.callback_metrics) == {f"choices/{name}" for name in GATES}


def test_of_nested_layers_the_outer_counts(tmp_path: Path) -> None:
    model = Chooser(GumbelQuantizer(6, K))
    assert list(ChoiceMonitor().layers(model)) == ["router"]
    assert list(ChoiceMonitor().layers(RelaxedCategorical())) == [""]


def test_a_layer_of_two_names_is_found_by_either_and_counted_once(tmp_path: Path) -> None:
    class Twice(Chooser):
        def __init__(self) -> None:
            super().__init__()
            self.again = self.router

    for only in ("router", "again", None):
        assert counted(tmp_path, Twice(), only=only) == [BATCH * BATCHES]
    model = Chooser(GumbelQuantizer(6, K))
    model.sampler = model.router.sample  # inside the quantiser, too, which is the outer layer
    assert list(ChoiceMonitor().layers(model)) == ["router"]
    assert list(ChoiceMonitor(only="sampler").layers(model)) == ["sampler"]


class TopExpert(nn.Module):
    """A router of a user's own, which knows padding."""

    def forward(self, logits: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        return logits.softmax(-1), logits.argmax(-1)


@choices_made.register
def _(layer: TopExpert, inputs: Mapping[str, Any], output: tuple[Tensor, Tensor]) -> Choices:
    return Choices(output[1].unsqueeze(-1), K, inputs["logits"], ~inputs["padding"])


def test_a_layer_of_a_users_own_with_padded_positions(tmp_path: Path) -> None:
    class Padded(Chooser):
        def choose(self, x: Tensor) -> Tensor:
            return self.router(self.logits(x), padding=torch.arange(len(x)) >= 3)[0]

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.choose(batch[0])

    assert counted(tmp_path, Padded(TopExpert())) == [3 * BATCHES]


class ActionMask(RelaxedCategorical):
    """Its mask is of categories, and not of positions."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x.masked_fill(~mask, -torch.inf))


def test_a_subclass_whose_arguments_have_other_meanings(tmp_path: Path) -> None:
    class Acting(Chooser):
        def choose(self, x: Tensor) -> Tensor:
            return self.router(self.logits(x), mask=torch.arange(K) != 2)

    assert counted(tmp_path, Acting(ActionMask())) == [BATCH * BATCHES]


def test_an_epoch_of_nothing_but_padding_is_no_collapse(tmp_path: Path) -> None:
    class AllPadding(Chooser):
        def choose(self, x: Tensor) -> Tensor:
            return self.router(self.logits(x), mask=torch.zeros(len(x), dtype=torch.bool)).quantized

    (message,) = warned(tmp_path, AllPadding(GumbelQuantizer(6, K)))
    assert "made no choice that can be counted" in message


def warned(folder: Path, model: Chooser, epochs: int = 4, **arguments: Any) -> list[str]:
    with pytest.warns(UserWarning, match="router") as caught:
        trainer(folder, ChoiceMonitor(filename=None, **arguments), epochs=epochs).fit(model, data(), data())
    return [str(warning.message) for warning in caught if "router" in str(warning.message)]


def deciding(layer: nn.Module, bias: list[float]) -> Chooser:
    model = Chooser(layer)
    model.logits.bias.data = torch.tensor(bias)
    return model


def test_warnings_come_once_and_say_what_to_do(tmp_path: Path) -> None:
    first = [1000.0, 0, 0, 0, 0]
    (message,) = warned(tmp_path, deciding(RelaxedCategorical(), first))
    assert message.startswith(
        "RelaxedCategorical 'router' chose number 0 of its 5 categories at 100% of the positions in"
    )
    assert "raise the weight of an entropy bonus" in message
    assert "dominated_above=1" in message
    (message,) = warned(tmp_path, deciding(RelaxedCategorical(), first), collapsed_below=0.5)
    assert "'router' has collapsed: 20% of its 5 categories were chosen in epoch 1. To use more: raise" in message
    (message,) = warned(tmp_path, deciding(RelaxedBernoulli(), [-1000.0] * K))
    assert "'router' has closed all of its 5 gates in epoch 1: nothing passes" in message


def test_no_warning_where_all_is_well_or_none_is_wanted(tmp_path: Path) -> None:
    trainer(tmp_path, ChoiceMonitor(filename=None), epochs=3).fit(Chooser(), data(), data())
    one = deciding(RelaxedCategorical(), [1000.0, 0, 0, 0, 0])
    trainer(tmp_path, ChoiceMonitor(filename=None, dominated_above=1), epochs=3).fit(one, data(), data())


def test_a_layer_asked_only_for_an_expectation_is_named(tmp_path: Path) -> None:
    class Expecting(Chooser):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            return self.router.expectation(lambda z: z[..., 0], self.logits(batch[0])).mean()

    (message,) = warned(tmp_path, Expecting(RelaxedCategorical(StraightThroughGumbel())))
    assert "made no choice that can be counted in epoch 1" in message


def test_bad_arguments_and_a_module_without_choices(tmp_path: Path) -> None:
    for name in ("collapsed_below", "dominated_above"):
        with pytest.raises(ValueError, match=rf"{name} is a share in \[0, 1\], got 1.5"):
            ChoiceMonitor(**{name: 1.5})
    for monitor, model in ((ChoiceMonitor(), Chooser(nn.Identity())), (ChoiceMonitor(only="no*"), Chooser())):
        with pytest.raises(ValueError, match="finds no layer that makes choices in Chooser"):
            trainer(tmp_path, monitor).fit(model, data(), data())


def test_a_method_of_an_everyday_name_is_left_alone(tmp_path: Path) -> None:
    class Own(Chooser):
        def decode(self, *_: Any) -> None:
            raise AssertionError

        prune = prepare = count = problem = distance = reconstruct = decode

    model = Own(GumbelQuantizer(6, K))
    model.choose = lambda x: model.router(x).quantized  # type: ignore[method-assign]
    trainer(tmp_path, CodebookMonitor(), ChoiceMonitor()).fit(model, data(), data())
    assert (tmp_path / "codes.png").exists()
