"""The order of the data: by which draws loaders and their iterators were made, and which batch of an epoch is next."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer

from discrete_lightning.training.resuming._loaders import (
    Stage,
    all_position,
    around_fetches,
    batches_of_epoch,
    begin_fetches,
    draws_here,
    loaders_of,
    make_loaders,
    positions_itself,
    reads_ahead,
    reloads,
    restart_workers,
    set_reloads,
    skip_batches,
)
from discrete_lightning.training.resuming.holders import (
    generators_of,
    holder_states,
    parts_of_loader,
    set_holder_states,
)
from discrete_lightning.training.resuming.random_state import (
    Holder,
    Plain,
    random_state,
    same,
    set_random_state,
    unchanged_left_out,
)


class DataOrder:
    """Notes random states where data are made from them, and goes the same way again.

    These are the states before loaders are made, where that draws (a random split); before their iterators are made, where
    worker processes get their seed; and with the first batch, where samplers draw theirs: in the first epoch Lightning makes
    the iterators before the hooks of the start.

    Args:
        trainer: that fits.
        module: its module.
    """

    def __init__(self, trainer: Trainer, module: LightningModule) -> None:
        self._trainer, self._module = trainer, module
        self._before: Plain = None
        self._drawn: dict[str, Plain] = {}
        self._epoch_start: Plain = None
        self._data_state: tuple[Any, ...] = ()

    # Noting.

    def note_making(self) -> None:
        """Loaders are about to be made."""
        self._before = self._present()

    def note_made(self, stage: Stage) -> None:
        """They are there."""
        self._drawn.pop(stage, None)
        if not same(self._before, self._present()):
            self._drawn[stage] = self._before

    def note_epoch_start(self, loaders: Sequence[Any]) -> None:
        """Iterators are about to be made."""
        read_again = not all(positions_itself(each) for each in loaders) or any(reads_ahead(each) for each in loaders)
        self._epoch_start = {
            "random": self._random(),
            "holders": holder_states(holders_of_loaders("training", loaders)),
            "loaders": _positions(loaders) if read_again else None,
            "first": None,
        }

    def note_iterators(self) -> None:
        """Iterators are there."""
        self._data_state = _global_state()

    def note_first_batch(self, fetcher: Any) -> None:
        """The batches of an epoch begin. Data that draw in this process get a random state of their own from here on."""
        if len(fetcher.combined_loader.flattened) > 1 or draws_here(fetcher.combined_loader.flattened[0]):
            self._isolate(fetcher)
        elif not same(self._data_state, _global_state()):
            self._epoch_start["first"] = self._random()

    def state(self, in_epoch: bool, now: Plain) -> Plain:
        """All of it, as far as it is needed at a place in an epoch or between two. `whole_order` completes it.

        Args:
            in_epoch: whether the place is in an epoch.
            now: the present random state, of which nothing is kept twice.
        """
        noted = dict(self._drawn)
        state: Plain = {"reloads": reloads(self._trainer)}
        # the iterator of the first epoch is made before training starts
        if self._epoch_start is not None and (in_epoch or self._trainer.current_epoch == 0):
            noted["epoch"] = self._epoch_start
            state["loaders"] = _positions(loaders_of(self._trainer, "training"))
        shortened = {name: {**each, "random": unchanged_left_out(each["random"], now)} for name, each in noted.items()}
        return state | {"noted": shortened}

    # Going the same way.

    def make(self, stage: Stage, state: Plain) -> None:
        """Makes the loaders as the uncut run did."""
        drawn = state["noted"].get(stage)

        def draw() -> None:
            self._set_random(drawn["random"])
            set_holder_states(holders_of_run(self._trainer, self._module), drawn["holders"])

        make_loaders(self._trainer, stage, state["reloads"][stage], None if drawn is None else draw)

    def set_reloads(self, state: Plain) -> None:
        """Makes the loaders of validation, where there were some, and restores when loaders were made."""
        if state["reloads"]["validation"] >= 0 and self._trainer.enable_validation:
            self.make("validation", state)
        set_reloads(self._trainer, state["reloads"])

    def find_batch(self, state: Plain, fetcher: Any) -> None:
        """Has the fetcher give the next batch of the epoch."""
        start = self._epoch_start = state["noted"]["epoch"]
        loaders = loaders_of(self._trainer, "training")
        if len(loaders) != len(state["loaders"]):
            raise ValueError(
                f"the checkpoint was saved with {len(state['loaders'])} training loaders, and here are {len(loaders)}: "
                "training cannot go on in the middle of an epoch; give as many, or a checkpoint of the end of an epoch"
            )
        count, is_over = batches_of_epoch(self._trainer)
        if is_over:
            return
        if self._trainer.current_epoch == 0:
            restart_workers(self._trainer)
        self._set_random(start["random"])
        set_holder_states(holders_of_loaders("training", loaders), start["holders"])
        goes_on = all_position(fetcher) or start["loaders"] is None
        for loader, position in zip(loaders, state["loaders"] if goes_on else start["loaders"], strict=True):
            if position is not None and positions_itself(loader):
                loader.load_state_dict(position)
        iter(fetcher)
        self.note_iterators()
        begin_fetches(self._trainer, fetcher)
        if start["first"] is not None:
            self._set_random(start["first"])
        self.note_first_batch(fetcher)
        skip_batches(fetcher, count)

    def _isolate(self, fetcher: Any) -> None:
        training: list[tuple[Any, ...]] = []

        def before() -> None:
            training.append(_global_state())
            _set_global_state(self._data_state)

        def after() -> None:
            self._data_state = _global_state()
            _set_global_state(training.pop())

        around_fetches(self._trainer, fetcher, before, after)

    def _present(self) -> Plain:
        return {"random": self._random(), "holders": holder_states(holders_of_run(self._trainer, self._module))}

    def _random(self) -> Plain:
        return random_state(self._trainer.strategy.root_device)

    def _set_random(self, state: Plain) -> None:
        set_random_state(state, self._trainer.strategy.root_device)


def whole_order(state: Plain, now: Plain) -> Plain:
    """A state of `DataOrder` with what it shares with the random state of the checkpoint, `now`."""
    noted = {name: {**each, "random": now | each["random"]} for name, each in state["noted"].items()}
    return {**state, "noted": noted}


def holders_of_run(trainer: Trainer, module: LightningModule) -> dict[str, Holder]:
    """The generators of modules, callbacks and the data module, by name."""
    owners = [(f"module.{name}", each) for name, each in module.named_modules()]
    owners += [(f"callback.{each.state_key}", each) for each in trainer.callbacks]  # type: ignore[attr-defined]
    return generators_of([*owners, ("data", trainer.datamodule)])  # type: ignore[attr-defined]


def holders_of_loaders(stage: Stage, loaders: Sequence[Any]) -> dict[str, Holder]:
    """The generators of loaders, and of what is in them, by name."""
    named = ((f"{stage}{number}", each) for number, each in enumerate(loaders))
    return generators_of(part for name, each in named for part in parts_of_loader(name, each))


def _positions(loaders: Sequence[Any]) -> list[Any]:
    return [each.state_dict() if positions_itself(each) else None for each in loaders]


def _global_state() -> tuple[Any, ...]:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _set_global_state(state: tuple[Any, ...]) -> None:
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])
