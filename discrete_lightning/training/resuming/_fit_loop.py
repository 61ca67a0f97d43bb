"""Everything that resuming takes from the private interface of Lightning's loops; tests/test_private_interfaces.py checks it.

A checkpoint is only exact at a *place* where nothing is half done:

    batch      between two training batches: the validation after a batch, and schedulers, are done
    epoch_end  in `on_train_epoch_end` of the callbacks that save, which come last: what Lightning does after it is done again
    epochs     between two epochs

Lightning calls what saves in the middle of things (`on_train_batch_end`, `on_validation_end`), and guesses on resuming what was
done, from counters. Here these hooks of the callbacks that save wait until the batch is over.
"""

import copy
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from discrete_lightning.training.resuming._loaders import Stage, begin_fetches, loaders_of
from discrete_lightning.training.resuming.data_order import DataOrder

Place = Literal["batch", "epoch_end", "epochs"]
_WAITING = ("on_train_batch_end", "on_validation_end")


class Places:
    """Says where a fit is, and has callbacks that save wait for a place.

    Args:
        trainer: that fits.
        savers: the callbacks that save checkpoints.
        order: is told when loaders and iterators are made, and batches of an epoch begin.

    Attributes:
        place: where the fit is, None in between.
    """

    def __init__(
        self,
        trainer: Trainer,
        savers: Sequence[Callback],
        order: DataOrder,
    ) -> None:
        self.place: Place | None = None
        self._trainer, self._savers, self._prepared = trainer, savers, list[Any]()
        self._waiting: list[tuple[Callback, str, Callable[[], None]]] = []
        self._at = 0  # number of the saver that saves at the end of an epoch
        self._order = order
        self._replaced: list[tuple[Any, str, Any, Any]] = []
        self._is_on = True
        fit, epoch = trainer.fit_loop, trainer.fit_loop.epoch_loop
        self._replace(epoch, "on_advance_end", self._batch_over)
        self._replace(epoch, "on_run_start", self._new_iterator)
        self._replace(fit, "on_advance_end", self._epoch_over)
        self._replace(fit, "setup_data", partial(self._setup_data, "training"))
        self._replace(epoch.val_loop, "setup_data", partial(self._setup_data, "validation"))
        for number, saver in enumerate(savers):
            for name in _WAITING:
                self._replace(saver, name, partial(self._wait, saver, name))
            self._replace(saver, "on_train_epoch_end", partial(self._at_epoch_end, number))

    def _replace(self, owner: Any, name: str, method: Callable[..., Any]) -> None:
        original, before = getattr(owner, name), vars(owner).get(name)

        def call(*args: Any) -> Any:  # also where others have replaced it, too, and call this one
            return method(original, *args) if self._is_on else original(*args)

        setattr(owner, name, call)
        self._replaced.append((owner, name, call, before))

    def remove(self) -> None:
        """Gives the loops and callbacks the methods back that they had."""
        self._is_on = False
        for owner, name, call, before in reversed(self._replaced):
            if vars(owner).get(name) is not call:
                continue
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self._replaced, self._waiting = [], []
        vars(self._trainer.fit_loop).pop("run", None)

    def leave(self) -> None:
        """A batch begins, or an epoch."""
        self.place = None

    def to_come(self) -> list[tuple[str, str]]:
        """Hooks of other callbacks that have still to be called at this place: the callback's key, and the hook."""
        if self.place == "batch":
            return [(saver.state_key, name) for saver, name, _ in self._waiting]
        last = len(self._savers) if self.place != "epoch_end" else self._at
        return [(saver.state_key, "on_train_epoch_end") for saver in self._savers[last + 1 :]]

    def call(self, hooks: Collection[tuple[str, str]], module: LightningModule) -> None:
        """Calls the hooks of a checkpoint that were to come."""
        for key, name in hooks:
            for saver in self._savers:
                if saver.state_key == key:
                    nothing = (None, None, self._trainer.fit_loop.epoch_loop.batch_idx) if "batch" in name else ()
                    getattr(saver, name)(self._trainer, module, *nothing)
        if any(name != "on_train_epoch_end" for _, name in hooks):
            self._batch_place()

    def _batch_over(self, original: Callable[..., None], *args: Any) -> None:
        try:
            original(*args)
        except SIGTERMException:  # Lightning raises it last of all
            self._batch_place()
            raise
        self._batch_place()

    def _batch_place(self) -> None:
        self.place = "batch"
        while self._waiting:
            self._waiting.pop(0)[2]()

    def _epoch_over(self, original: Callable[..., None]) -> None:
        self.place = None
        try:
            original()
        except SIGTERMException:
            self.place = "epochs"
            raise
        self.place = "epochs"

    def _wait(self, saver: Callback, name: str, original: Callable[..., None], trainer: Trainer, *args: Any) -> None:
        if trainer.sanity_checking:
            original(trainer, *args)
        else:
            self._waiting.append((saver, name, partial(original, trainer, *args)))

    def _at_epoch_end(self, number: int, original: Callable[..., None], *args: Any) -> None:
        self.place, self._at = "epoch_end", number
        original(*args)
        self.place = None

    def _setup_data(self, stage: Stage, original: Callable[[], None]) -> None:
        self._order.note_making()
        strategy: Any = self._trainer.strategy
        process = strategy.process_dataloader

        def process_dataloader(loader: Any) -> Any:
            if not self._prepared:
                self._order.note_made(stage)
            self._prepared.append(process(loader))
            if stage == "training":
                self._order.note_epoch_start(
                    self._prepared
                )  # Lightning makes the iterators next, when it has the last one
            return self._prepared[-1]

        strategy.process_dataloader = process_dataloader
        try:
            original()
            if self._prepared and stage == "training":
                self._order.note_iterators()
        finally:
            del strategy.process_dataloader
            self._prepared = []

    def _new_iterator(self, original: Callable[..., None], fetcher: Any) -> None:
        is_first = self._trainer.current_epoch == 0  # whose iterator `setup_data` has made
        begin_fetches(self._trainer, fetcher)
        if not is_first:
            self._order.note_epoch_start(loaders_of(self._trainer, "training"))
        original(fetcher)
        if not is_first:
            self._order.note_iterators()
        self._order.note_first_batch(fetcher)
        self.place = "batch"


def resume_loops(
    trainer: Trainer,
    place: Place,
    make: Callable[[], None],
    restore: Callable[[], None],
    find_batch: Callable[[Any], None],
    goes_on: Callable[[], bool],
) -> None:
    """Has the loops go on at a place, when they start.

    Args:
        trainer: whose loops hold the counters of the checkpoint.
        place: where it was made.
        make: makes the loaders of training.
        restore: restores random states and figures; the last thing before training goes on, after the hooks of its start.
        find_batch: gets the fetcher of batches, and has it give the next one of the epoch.
        goes_on: whether a run of the loops is the one that goes on; finders (of a learning rate) run them before.
    """
    fit, epoch = trainer.fit_loop, trainer.fit_loop.epoch_loop

    def run() -> None:
        """Lightning's `run`, which would end at once where a limit is reached, and what follows the last batch is left out."""
        if not goes_on():
            type(fit).run(fit)
            return
        del fit.run
        make()
        if trainer.limit_train_batches == 0 or fit.max_batches == 0:
            return
        progress = copy.deepcopy(fit.epoch_progress.state_dict())
        fit.reset()
        fit.on_run_start()
        fit.epoch_progress.load_state_dict(progress)  # which Lightning may have moved on
        begin = [in_epoch if place == "batch" else after_epoch]
        while begin or not fit.done:
            try:
                if begin:
                    begin.pop()()
                fit.on_advance_start()
                fit.advance()
                fit.on_advance_end()
            except StopIteration:
                break
            finally:
                fit.on_iteration_done()
        fit._restarting = False
        fit.on_run_end()

    def in_epoch() -> None:
        _only_once(epoch, "reset", lambda: None)
        _only_once(epoch, "on_run_start", continue_epoch)
        _forget_restart(trainer, stage=False)  # that an epoch has begun

    def continue_epoch(fetcher: Any) -> None:
        find_batch(fetcher)
        restore()

    def after_epoch() -> None:
        _forget_restart(trainer)
        if trainer.current_epoch == 0 and place == "epochs":
            find_batch(fit._data_fetcher)
        restore()
        if place == "epoch_end":
            _end_epoch(trainer)
        if fit.done:
            raise StopIteration

    setattr(fit, "run", run)  # noqa: B010


def _only_once(owner: Any, name: str, method: Callable[..., Any]) -> None:
    present = vars(owner).get(name)

    def once(*args: Any) -> None:
        if present is None:
            delattr(owner, name)
        else:
            setattr(owner, name, present)
        method(*args)

    setattr(owner, name, once)


def _forget_restart(trainer: Trainer, stage: bool = True) -> None:
    """Has the loops run as if they had counted to here themselves."""
    fit = trainer.fit_loop
    for loop in (fit, fit.epoch_loop, fit.epoch_loop.val_loop):
        loop._restarting = loop._loaded_from_state_dict = loop._resuming_from_checkpoint = False
        if stage:
            loop.reset_restart_stage()


def _end_epoch(trainer: Trainer) -> None:
    """What `on_advance_end` of Lightning's fit loop does after `on_train_epoch_end`."""
    fit, connector = trainer.fit_loop, trainer._logger_connector
    connector.epoch_end_reached()
    connector.on_epoch_end()
    if fit.epoch_loop._num_ready_batches_reached():
        fit.epoch_loop.update_lr_schedulers("epoch", update_plateau_schedulers=True)
    fit.epoch_loop._batches_that_stepped -= 1
    connector.update_train_epoch_metrics()
    fit.epoch_loop._batches_that_stepped += 1
    fit.epoch_progress.increment_completed()
