"""Loaders as Lightning's loops hold them, and the way through their batches: the private part of it, as in `_fit_loop`."""

from collections.abc import Callable
from typing import Any, Literal

from lightning.fabric.utilities.data import sized_len
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, IterableDataset

Stage = Literal["training", "validation"]


def loaders_of(trainer: Trainer, stage: Stage) -> list[Any]:
    """The loaders, as Lightning iterates them; none where they have not been made."""
    loop = trainer.fit_loop if stage == "training" else trainer.fit_loop.epoch_loop.val_loop
    return [] if loop._combined_loader is None else list(loop._combined_loader.flattened)


def make_loaders(trainer: Trainer, stage: Stage, epoch: float, draw: Callable[[], None] | None) -> None:
    """Makes the loaders as in the epoch in which they were made: what is drawn for that, or depends on it, is the same.

    Args:
        trainer: that fits.
        stage: of the loaders.
        epoch: in which they were made; negative if they were not.
        draw: sets the random state of before they were made, where something was drawn; loaders that are there are made again.
    """
    fit = trainer.fit_loop
    loop: Any = fit if stage == "training" else fit.epoch_loop.val_loop
    progress = fit.epoch_progress.current
    present = progress.completed
    if draw is not None:
        draw()
        if loop._combined_loader is not None:
            loop._combined_loader.reset()
            loop._combined_loader = None
    progress.completed = present if epoch < 0 else int(epoch)
    trainer.validating = stage == "validation"
    loop.setup_data()
    trainer.training = True
    progress.completed = present


def reloads(trainer: Trainer) -> dict[str, Any]:
    """The epochs in which the loaders were made (`reload_dataloaders_every_n_epochs`), and what was done with those of
    validation since: the batches of each, by which Lightning counts what is logged there, and which keep their workers.
    """
    fit = trainer.fit_loop
    validation = fit.epoch_loop.val_loop
    return {
        "training": fit._last_train_dl_reload_epoch,
        "validation": validation._last_val_dl_reload_epoch,
        "batches": dict(validation._seen_batches_per_dataloader),
        "workers": [number for number, each in enumerate(loaders_of(trainer, "validation")) if _keeps_workers(each)],
    }


def set_reloads(trainer: Trainer, state: dict[str, Any]) -> None:
    """Restores `reloads`. Workers that are kept are started here, which draws their seed: the uncut run had drawn it."""
    fit = trainer.fit_loop
    validation = fit.epoch_loop.val_loop
    loaders = loaders_of(trainer, "validation")
    fit._last_train_dl_reload_epoch, validation._last_val_dl_reload_epoch = state["training"], state["validation"]
    validation._seen_batches_per_dataloader.update(state["batches"])
    for number in state["workers"]:
        if number < len(loaders) and getattr(loaders[number], "persistent_workers", False):
            iter(loaders[number])


def _keeps_workers(loader: Any) -> bool:
    return getattr(loader, "persistent_workers", False) and getattr(loader, "_iterator", None) is not None


def positions_itself(loader: Any) -> bool:
    """Whether a loader has a state, by which it goes on where it was."""
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def all_position(fetcher: Any) -> bool:
    """Whether all loaders go on by themselves. Without a length Lightning reads a batch ahead, and so is their state."""
    return fetcher.length is not None and all(positions_itself(each) for each in fetcher.combined_loader.flattened)


def reads_ahead(loader: Any) -> bool:
    """Whether Lightning reads a batch ahead, to see the end of data without a length."""
    return sized_len(loader) is None


def draws_here(loader: Any) -> bool:
    """Whether examples are made in this process one after the other, so that their draws mix with those of training."""
    if isinstance(loader, DataLoader):
        return loader.num_workers == 0 and isinstance(loader.dataset, IterableDataset)
    return not (positions_itself(loader) and not reads_ahead(loader)) and not hasattr(loader, "__getitem__")


def skip_batches(fetcher: Any, count: int) -> None:
    """Has a fetcher give batch `count` of the epoch next; its iterator is new.

    One loader of a map-style data set in this process leaves the others unread. Any other is read: in workers too, whose own
    draws then go on.
    """
    combined = fetcher.combined_loader
    loaders = combined.flattened
    if all_position(fetcher):
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
