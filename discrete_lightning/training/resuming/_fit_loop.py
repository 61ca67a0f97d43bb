"""Everything that resuming takes from the private interface of Lightning's loops; tests/test_private_interfaces.py checks it.

A checkpoint is only exact at a *place* where nothing is half done:

    batch      between two training batches: the validation after a batch, and schedulers, are done
    epoch_end  in `on_train_epoch_end` of the callbacks that save, which come last: what Lightning does after it is done again
    epochs     between two epochs

Lightning calls what saves in the middle of things (`on_train_batch_end`, `on_validation_end`), and guesses on resuming what was
done, from counters. Here these hooks of the callbacks that save wait until the batch is over.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader, IterableDataset

Place = Literal["batch", "epoch_end", "epochs"]
Stage = Literal["training", "validation"]
_WAITING = ("on_train_batch_end", "on_validation_end")


class Places:
    """Says where a fit is, and has callbacks that save wait for a place.

    Args:
        trainer: that fits.
        savers: the callbacks that save checkpoints.
        before_iteration, after_iteration: called just before and after an iterator of the training loader is made.
        on_epoch: called with the fetcher of batches, when the batches of an epoch begin.

    Attributes:
        place: where the fit is, None in between.
    """

    def __init__(
        self,
        trainer: Trainer,
        savers: Sequence[Callback],
        before_iteration: Callable[[], None],
        after_iteration: Callable[[], None],
        on_epoch: Callable[[Any], None],
    ) -> None:
        self.place: Place | None = None
        self._trainer, self._waiting, self._preparing = trainer, list[Callable[[], None]](), False
        self._before_iteration, self._after_iteration, self._on_epoch = before_iteration, after_iteration, on_epoch
        self._replaced: list[tuple[Any, str]] = []
        fit, epoch = trainer.fit_loop, trainer.fit_loop.epoch_loop
        self._replace(epoch, "on_advance_end", self._batch_over)
        self._replace(epoch, "on_run_start", self._new_iterator)
        self._replace(fit, "on_advance_end", self._epoch_over)
        self._replace(fit, "setup_data", self._setup_data)
        self._replace(trainer.strategy, "process_dataloader", self._process_dataloader)
        for saver in savers:
            for name in _WAITING:
                self._replace(saver, name, self._wait)
            self._replace(saver, "on_train_epoch_end", self._at_epoch_end)

    def _replace(self, owner: Any, name: str, method: Callable[..., Any]) -> None:
        setattr(owner, name, partial(method, getattr(owner, name)))
        self._replaced.append((owner, name))

    def remove(self) -> None:
        """Gives the loops and callbacks their own methods back."""
        for owner, name in self._replaced:
            vars(owner).pop(name, None)
        self._replaced, self._waiting = [], []

    def leave(self) -> None:
        """A batch begins."""
        self.place = None

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
            self._waiting.pop(0)()

    def _epoch_over(self, original: Callable[..., None]) -> None:
        self.place = None
        try:
            original()
        except SIGTERMException:
            self.place = "epochs"
            raise
        self.place = "epochs"

    def _wait(self, original: Callable[..., None], trainer: Trainer, *args: Any) -> None:
        if trainer.sanity_checking:
            original(trainer, *args)
        else:
            self._waiting.append(partial(original, trainer, *args))

    def _at_epoch_end(self, original: Callable[..., None], *args: Any) -> None:
        self.place = "epoch_end"
        original(*args)
        self.place = None

    def _setup_data(self, original: Callable[[], None]) -> None:
        self._preparing = True
        try:
            original()
        finally:
            self._preparing = False
        self._after_iteration()

    def _process_dataloader(self, original: Callable[..., Any], loader: Any) -> Any:
        loader = original(loader)
        if self._preparing:  # of training, which is iterated next
            self._before_iteration()
        return loader

    def _new_iterator(self, original: Callable[..., None], fetcher: Any) -> None:
        is_first = self._trainer.current_epoch == 0  # whose iterator `setup_data` has made
        if not is_first:
            self._before_iteration()
        original(fetcher)
        if not is_first:
            self._after_iteration()
        self._on_epoch(fetcher)


def loaders_of(trainer: Trainer, stage: Stage, make: bool = False) -> list[Any]:
    """The loaders, as Lightning iterates them; none where they have not been made, unless `make`: those of validation."""
    loop = trainer.fit_loop if stage == "training" else trainer.fit_loop.epoch_loop.val_loop
    if make and loop._combined_loader is None:
        trainer.validating = True
        loop.setup_data()
        trainer.training = True
    return [] if loop._combined_loader is None else list(loop._combined_loader.flattened)


def positions_itself(loader: Any) -> bool:
    """Whether a loader has a state, by which it goes on where it was."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def draws_here(loader: Any) -> bool:
    """Whether examples are made in this process one after the other, so that their draws mix with those of training."""
    if isinstance(loader, DataLoader):
        return loader.num_workers == 0 and isinstance(loader.dataset, IterableDataset)
    return not positions_itself(loader) and not hasattr(loader, "__getitem__")


def resume_loops(
    trainer: Trainer, place: Place, restore: Callable[[], None], find_batch: Callable[[Any], None]
) -> None:
    """Has the loops go on at a place, when they start.

    Args:
        trainer: whose loops hold the counters of the checkpoint.
        place: where it was made.
        restore: restores random states and figures; the last thing before training goes on, after the hooks of its start.
        find_batch: gets the fetcher of batches, and has it give the next one of the epoch.
    """
    fit, epoch = trainer.fit_loop, trainer.fit_loop.epoch_loop
    on_advance_start = fit.on_advance_start

    def continue_epoch(fetcher: Any) -> None:
        find_batch(fetcher)
        restore()

    def start() -> None:
        del fit.on_advance_start
        if place == "batch":
            on_advance_start()  # of an epoch that has begun
            _only_once(epoch, "reset", lambda: None)
            _only_once(epoch, "on_run_start", continue_epoch)
            _forget_restart(trainer, stage=False)
            return
        if place == "epoch_end":
            restore()
            _end_epoch(trainer)
        _forget_restart(trainer)
        if place == "epochs":
            restore()
        on_advance_start()

    setattr(fit, "on_advance_start", start)  # noqa: B010


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
    progress: Any = fit.epoch_progress.current
    progress.completed = progress.processed - 1
    connector.epoch_end_reached()
    connector.on_epoch_end()
    if fit.epoch_loop._num_ready_batches_reached():
        fit.epoch_loop.update_lr_schedulers("epoch", update_plateau_schedulers=True)
    fit.epoch_loop._batches_that_stepped -= 1
    connector.update_train_epoch_metrics()
    fit.epoch_loop._batches_that_stepped += 1
    fit.epoch_progress.increment_completed()


def skip_batches(fetcher: Any, count: int) -> None:
    """Has a fetcher give batch `count` of the epoch next; its iterator is new.

    One loader of a map-style data set in this process leaves the others unread. Any other is read: in workers too, whose own
    draws then go on.
    """
    combined = fetcher.combined_loader
    loaders = combined.flattened
    if all(positions_itself(each) for each in loaders):
        _set_position(fetcher, count)
    elif len(loaders) == 1 and isinstance(loaders[0], DataLoader) and _is_plain(loaders[0]):
        iterator = combined._iterator.iterators[0]
        for _ in range(count):
            iterator._next_index()
        iterator._num_yielded = count
        _set_position(fetcher, count)
    else:
        for _ in range(count):
            next(fetcher)


def _is_plain(loader: DataLoader[Any]) -> bool:
    return loader.num_workers == 0 and not isinstance(loader.dataset, IterableDataset)


def _set_position(fetcher: Any, count: int) -> None:
    fetcher.combined_loader._iterator._idx = count
    fetcher.fetched = count
    if fetcher.length is not None:
        fetcher.done = count >= fetcher.length


def restart_workers(trainer: Trainer) -> None:
    """Ends worker processes that were started before random states were restored."""
    combined = trainer.fit_loop._combined_loader
    if combined is not None:
        combined.reset()


def around_fetches(trainer: Trainer, fetcher: Any, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Has `before` and `after` called around each batch that is fetched, inside of what Lightning's profiler measures."""
    epoch = trainer.fit_loop.epoch_loop

    def start() -> None:
        epoch._on_before_fetch()
        before()

    def stop() -> None:
        after()
        epoch._on_after_fetch()

    fetcher._start_profiler, fetcher._stop_profiler = start, stop


def begin_fetches(trainer: Trainer, fetcher: Any) -> None:
    """What Lightning's epoch loop does with a new iterator of batches."""
    around_fetches(trainer, fetcher, lambda: None, lambda: None)


def batches_of_epoch(trainer: Trainer) -> tuple[int, bool]:
    """How many batches of this epoch are done, and whether they are all."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    return progress.current.completed, trainer.fit_loop.epoch_loop._num_ready_batches_reached()
