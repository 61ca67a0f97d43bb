"""Watches layers that make discrete choices: experts, gates, actions, codes. Usage, entropy, and a warning at a collapse."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from discrete_lightning.functional._torch_private import in_backward, under_functorch
from discrete_lightning.layers.choice_use import ChoiceUse, over_ranks
from discrete_lightning.layers.choices import choices_made, is_counted, makes_choices
from discrete_lightning.training.named_once import named_once
from discrete_lightning.training.pictures import never_ends_a_run, save_figure
from discrete_lightning.training.usage_picture import draw_usage
from discrete_lightning.training.wandb_media import log_histogram


class ChoiceMonitor(Callback):
    """For every layer that makes discrete choices: how they were used in each training epoch, in logs, W&B and a PNG.

    Layers are found by type: RelaxedCategorical, RelaxedBernoulli, RelaxedSubset, codebooks, routers, and those of your own
    that `choices_made` knows. If one of them is inside another, only the outer one is counted. Every forward pass in training
    mode during a training batch is counted, on all ranks, with a gradient or under `no_grad`; a pass that activation
    checkpointing repeats counts once, and positions that a codebook's `mask` leaves out do not count. Of a relaxed sample the
    largest entry counts. Calls of a layer's `expectation`, and calls inside `torch.func.vmap` and similar transforms, cannot be
    counted.

    Logged after each epoch as `choices/<figure>`, or `choices/<layer>/<figure>` where there are several layers:

        live_share            share of the categories that were chosen at least once; of experts, the others are dead
        perplexity            exp of the entropy of usage, in [1, K]: the effective number of categories
        load_violation        how much more often than the mean the most frequent category was chosen: max c / mean c - 1
        dominant_share        share of the positions that take the most frequent category
        open_share            of gates: share of the positions at which they are open, the mean over gates
        always_open_share     of gates: share of those open at every position
        always_closed_share   of gates: share of those open at none
        choice_entropy        mean entropy of the single choices, in nats (of gates: the mean over gates)
        marginal_entropy      entropy of the mean distribution, in nats; minus choice_entropy it is the mutual information of
                              input and choice
        usage                 histogram in W&B: share of each category among all choices, or share open of each gate

    Entropies are of softmax(logits), taken in every `log_every_n_steps`-th batch of the epoch, the first included.

    Args:
        only: glob patterns of names of layers (`encoder.*`); all if None.
        collapsed_below: a live share below which it warns of a collapse; 0 never warns.
        dominated_above: a dominant share above which it warns that one category takes nearly all; 1 never warns.
        patience: epochs before it may warn. Each warning comes once for a layer.
        filename: picture of the usage in the last epoch, written to the run's folder when fitting ends; None for no picture.

    Raises:
        ValueError: if an argument is out of range; in setup, if the module holds no such layer.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[ChoiceMonitor(only="router*")], logger=False, enable_checkpointing=False)
    """

    kind: ClassVar[str] = "choices"  # the beginning of logged names
    categories: ClassVar[str] = "categories"  # what is chosen, in warnings and in the picture

    def __init__(
        self,
        only: str | list[str] | None = None,
        collapsed_below: float = 0.1,
        dominated_above: float = 0.95,
        patience: int = 2,
        filename: str | None = "choices.png",
    ) -> None:
        for name, value in (("collapsed_below", collapsed_below), ("dominated_above", dominated_above)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is a share in [0, 1], got {value}")
        self.only = [only] if isinstance(only, str) else only
        self.collapsed_below, self.dominated_above = collapsed_below, dominated_above
        self.patience, self.filename = patience, filename
        self._hooks: list[Any] = []
        self._names: list[str] = []
        self._uses: dict[str, ChoiceUse] = {}
        self._last: dict[str, ChoiceUse] = {}
        self._warned: set[tuple[str, str]] = set()
        self._counting = self._measuring = False

    def layers(self, module: nn.Module) -> dict[str, nn.Module]:
        """The layers of `module` that are watched, by name."""
        found = {name: layer for name, layer in named_once(module, self.only) if makes_choices(layer)}
        inside = {inner for outer in found.values() for inner in outer.modules() if inner is not outer}
        return {name: layer for name, layer in found.items() if layer not in inside and is_counted(layer)}

    def advice(self, layer: nn.Module) -> str:
        """What to change so that `layer` uses more of its categories."""
        return (
            "raise the weight of an entropy bonus or a balancing loss, keep the temperature high for longer, or lower the "
            "learning rate"
        )

    def figures(self, use: ChoiceUse) -> dict[str, Tensor]:
        """What is logged of a layer's use in an epoch, by name."""
        return use.figures()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and not self.layers(pl_module):
            name, only = type(self).__name__, "" if self.only is None else f"(only={self.only})"
            raise ValueError(
                f"{name}{only} finds no layer that makes choices in {type(pl_module).__name__}; leave the callback out, or "
                "register your layer with `discrete_lightning.nn.choices_made`"
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()
        layers = self.layers(pl_module)
        self._names, self._uses, self._last, self._warned = list(layers), {}, {}, set()
        for name, layer in layers.items():
            self._hooks.append(layer.register_forward_hook(self._hook(name, layer), with_kwargs=True))

    def _hook(self, name: str, watched: nn.Module) -> Callable[..., None]:
        @torch.compiler.disable
        def count(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            # a deep copy of the layer has this hook, too; a recomputed pass runs inside of a backward pass
            if not (self._counting and layer is watched and layer.training) or in_backward() or under_functorch():
                return
            inputs = inspect.signature(type(layer).forward).bind(layer, *args, **kwargs).arguments
            choices = choices_made(layer, inputs, output)
            if choices is None:
                return
            if name not in self._uses:
                self._uses[name] = ChoiceUse(choices.are_gates, choices.chosen.device)
            self._uses[name].add(choices, self._measuring)

        return count

    def rank_state(self) -> dict[str, Any]:
        uses, last = ({name: each.state() for name, each in uses.items()} for uses in (self._uses, self._last))
        return {"uses": uses, "last": last, "warned": sorted(self._warned)}

    def set_rank_state(self, state: dict[str, Any], device: torch.device) -> None:
        self._uses, self._last = (
            {name: ChoiceUse.of(each, device) for name, each in state[key].items()} for key in ("uses", "last")
        )
        self._warned = {(name, about) for name, about in state["warned"]}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        self._counting, self._measuring = True, batch_idx % max(1, every) == 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._counting = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        uses = over_ranks([self._uses.get(name) for name in self._names], pl_module.device)
        self._uses = {}
        for name, use in zip(self._names, uses, strict=True):
            layer = pl_module.get_submodule(name)
            ripe = trainer.current_epoch + 1 >= self.patience
            if use is None or not use.positions.any():
                if ripe:
                    self._warn(name, layer, "unseen", _UNSEEN.format(epoch=trainer.current_epoch))
                continue
            prefix = self.kind if len(self._names) == 1 else f"{self.kind}/{name}"
            figures = self.figures(use)
            for key, value in figures.items():
                pl_module.log(
                    f"{prefix}/{key}", value, sync_dist=True
                )  # equal on all ranks; without it Lightning warns
            log_histogram(trainer, f"{prefix}/usage", use.usage())
            self._last[name] = use
            if ripe:
                self._check(name, layer, use, figures, trainer.current_epoch)

    def _check(self, name: str, layer: nn.Module, use: ChoiceUse, figures: dict[str, Tensor], epoch: int) -> None:
        if use.are_gates:
            if figures["always_closed_share"] == 1:
                self._warn(
                    name, layer, "closed", f"has closed all of its {use.size} gates in epoch {epoch}: nothing passes. Start "
                    "with a cost of 0 for open gates and raise it slowly, or lower its weight."
                )  # fmt: skip
        elif (live := figures["live_share"]) < self.collapsed_below:
            self._warn(
                name, layer, "collapsed", f"has collapsed: {live:.0%} of its {use.size} {self.categories} were chosen in "
                f"epoch {epoch}. To use more: {self.advice(layer)}."
            )  # fmt: skip
        elif (share := figures["dominant_share"]) > self.dominated_above:
            self._warn(
                name, layer, "dominated", f"chose number {int(use.chosen.argmax())} of its {use.size} {self.categories} at "
                f"{share:.0%} of the positions in epoch {epoch}. If the choice should depend on the input: "
                f"{self.advice(layer)}. If not, set dominated_above=1."
            )  # fmt: skip

    def _warn(self, name: str, layer: nn.Module, about: str, message: str) -> None:
        if (name, about) not in self._warned:
            self._warned.add((name, about))
            warnings.warn(f"{type(layer).__name__} {name!r} {message}", stacklevel=3)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.filename and self._last and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            picture, epoch = None, max(1, trainer.current_epoch)
            with never_ends_a_run(f"what each of the {self.categories} decodes to"):
                picture = self.pictures(pl_module)
            with never_ends_a_run(self.filename):
                figure = draw_usage(self._last, self.categories, epoch, picture)
                save_figure(trainer, figure, self.filename, f"{self.kind}/picture", _CAPTION.format(epoch=epoch))

    def pictures(self, module: LightningModule) -> Tensor | None:
        """An image (C, H, W) of what the categories stand for, by rank; shown below the usage. None: there is none."""
        return None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()  # Lightning calls teardown only after success

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stop()

    def _stop(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._counting = [], False


_CAPTION = (
    "Of all training batches of epoch {epoch}; figures of validation and test (val/..., test/...) are of fewer examples and "
    "another state of the weights."
)
_UNSEEN = (
    "made no choice that can be counted in epoch {epoch}: only forward passes in training mode are counted; calls of "
    "`expectation` and padded positions are not. Leave the layer out by `only`."
)
