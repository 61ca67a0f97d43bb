"""A run that is cut and resumed goes on as the run that was never cut, to the bit."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from discrete_lightning.distributed import gather_objects, rank, world_size
from discrete_lightning.training.checkpoint_io import RunCheckpointIO
from discrete_lightning.training.resuming._fit_loop import Places, resume_loops
from discrete_lightning.training.resuming._loaders import (
    Stage,
    around_fetches,
    batches_of_epoch,
    begin_fetches,
    draws_here,
    loaders_of,
    positions_itself,
    reloads,
    restart_workers,
    set_reloads,
    skip_batches,
)
from discrete_lightning.training.resuming.figures import figures, set_figures
from discrete_lightning.training.resuming.holders import (
    generators_of,
    holder_states,
    parts_of_loader,
    set_holder_states,
)
from discrete_lightning.training.resuming.pending import pending, pending_statistics, set_pending
from discrete_lightning.training.resuming.random_state import (
    Holder,
    Plain,
    random_state,
    set_random_state,
    unchanged_left_out,
)
from discrete_lightning.training.resuming.rank_states import of_folder, rank_states, set_rank_states, without_repeats

_KEY = "exact_resume"  # in a checkpoint
_FORMAT = 1


class ExactResume(Callback):
    """Has checkpoints hold all that a resumed run needs to be equal, to the bit, to the run that was never cut.

    For any LightningModule. Beside what Lightning saves these are, of each rank: the states of torch's, numpy's and Python's
    random generators, and of those that loaders, data sets, modules and callbacks hold; the place in the order of the data;
    running means and metrics; pending gradients and statistics of codebooks and routers, where a checkpoint falls in between
    the batches of one step; whether training was to stop. In the ordinary case that is 8 KB a rank, and it costs nothing a step
    (`python -m benchmarks.reliability.resume_cost`).

    Checkpoint callbacks save after the validation that follows a batch, not before it, so that nothing is half done. Batches
    of the epoch that were trained on are not loaded again, but for iterable data sets, several loaders, and worker processes,
    whose own draws have to go on: there they are read and dropped. A loader with `state_dict` and `load_state_dict`, such as
    torchdata's StatefulDataLoader, goes on by itself. Iterable data sets in the main process draw from a random state of their
    own.

    What it cannot restore it says in one line: a checkpoint saved in the middle of a step (by code of your own), another
    number of processes. It knows nothing of attributes that a module or data set hides from `state_dict`, and of the draws of
    persistent workers.

    The checkpoints of a Trainer with this callback are written to a file beside their place, synced and renamed.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[ExactResume()], accelerator="cpu", logger=False, enable_checkpointing=False)
    """

    def __init__(self) -> None:
        self._places: Places | None = None
        self._epoch_start: Plain = None
        self._data_state: tuple[Any, ...] = ()
        self._steps_at_backward = -1

    def __getstate__(self) -> dict[str, Any]:
        """A copy belongs to no run."""
        return {**self.__dict__, "_places": None}

    # Of a run.

    # Not in on_fit_start: before it, `trainer.estimated_stepping_batches` in `configure_optimizers` iterates the loaders.
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._release()
        self._steps_at_backward = -1
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = RunCheckpointIO(trainer)
        savers = [each for each in trainer.callbacks if isinstance(each, Checkpoint)]  # type: ignore[attr-defined]
        self._places = Places(
            trainer,
            savers,
            before_iteration=lambda loaders: self._note_epoch_start(trainer, loaders),
            after_iteration=self._note_data_state,
            on_epoch=lambda fetcher: self._isolate(trainer, fetcher),
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._places is not None and trainer.ckpt_path is None:
            self._places.place = "epochs"  # before the first one: what saves now saves a whole state

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._places is not None:
            self._places.leave()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._places is not None:
            self._places.leave()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._steps_at_backward = trainer.global_step

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._release()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._release()

    def _release(self) -> None:
        if self._places is not None:
            self._places.remove()  # where it was stays known, for what saves now

    # Saving.

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        place = None if self._places is None else self._places.place
        own = self._state(trainer, pl_module, in_epoch=place == "batch")
        # all ranks come to a place together; elsewhere one may be alone, and would wait for the others
        ranks = [own] if place is None else gather_objects(own)
        for each, states in zip(ranks, without_repeats([each["states"] for each in ranks]), strict=True):
            each["states"] = states
        to_come = [] if self._places is None else self._places.to_come()
        checkpoint[_KEY] = {
            "format": _FORMAT,
            "place": place,
            "to_come": to_come,
            "begun": trainer.fit_loop.total_batch_idx >= 0,
            "processes": world_size(),
            "ranks": ranks,
        }

    def _state(self, trainer: Trainer, module: LightningModule, in_epoch: bool) -> Plain:
        waits_for_step = self._steps_at_backward == trainer.global_step
        state = {
            "random": random_state(trainer.strategy.root_device),
            "holders": holder_states(self._holders(trainer, module)),
            "figures": figures(trainer, module),
            "states": rank_states(trainer, module),
            "pending": pending(module) if waits_for_step else pending_statistics(module),
            "should_stop": trainer.should_stop,
            "reloads": reloads(trainer),
        }
        if in_epoch or trainer.current_epoch == 0:  # whose iterator is made before training starts
            random_then = unchanged_left_out(self._epoch_start["random"], state["random"])
            state["epoch_start"] = {**self._epoch_start, "random": random_then}
            loaders = loaders_of(trainer, "training")
            state["loaders"] = [each.state_dict() if positions_itself(each) else None for each in loaders]
        return state

    def _holders(self, trainer: Trainer, module: LightningModule) -> dict[str, Holder]:
        owners = [(f"module.{name}", each) for name, each in module.named_modules()]
        owners += [(f"callback.{each.state_key}", each) for each in trainer.callbacks]  # type: ignore[attr-defined]
        owners += [("data", trainer.datamodule)]  # type: ignore[attr-defined]
        stages: tuple[Stage, ...] = ("training", "validation")
        of_loaders = [_holders_of(stage, loaders_of(trainer, stage)) for stage in stages]
        return generators_of(owners) | of_loaders[0] | of_loaders[1]

    def _note_epoch_start(self, trainer: Trainer, loaders: Sequence[Any]) -> None:
        self._epoch_start = {
            "random": random_state(trainer.strategy.root_device),
            "holders": holder_states(_holders_of("training", loaders)),
        }

    # Going on.

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        callbacks = checkpoint.get("callbacks", {})
        for each in trainer.checkpoint_callbacks:
            if each.state_key in callbacks:
                callbacks[each.state_key] = of_folder(each, callbacks[each.state_key])
        loaded = checkpoint.get(_KEY)
        if loaded is None:
            _say(
                "the checkpoint was saved without ExactResume: noise and the order of data are not those of an uncut run"
            )
            return
        self._go_on(trainer, pl_module, loaded)

    def _own(self, loaded: dict[str, Any]) -> Plain:
        ranks = loaded["ranks"]
        return ranks[min(rank(), len(ranks) - 1)]

    def _go_on(self, trainer: Trainer, module: LightningModule, loaded: dict[str, Any]) -> None:
        if loaded["processes"] != world_size():
            _say(
                f"the checkpoint is of {loaded['processes']} processes, and here are {world_size()}: noise and the order of "
                "data are not those of an uncut run"
            )
        if loaded["place"] is None and not loaded["begun"]:  # as a learning-rate finder does
            return
        if loaded["place"] is None:
            _say(
                "the checkpoint was saved in the middle of a step, which is begun again: not as an uncut run, to the bit"
            )
            return
        own = self._own(loaded)
        resume_loops(
            trainer,
            loaded["place"],
            lambda: self._restore(trainer, module, own, loaded),
            lambda fetcher: self._find_batch(trainer, module, own, fetcher),
        )

    def _restore(self, trainer: Trainer, module: LightningModule, own: Plain, loaded: dict[str, Any]) -> None:
        set_pending(module, own["pending"])
        if "gradients" in own["pending"]:
            self._steps_at_backward = trainer.global_step
        set_rank_states(trainer, module, own["states"])
        set_figures(trainer, module, own["figures"], in_epoch=loaded["place"] == "batch")
        trainer.should_stop = own["should_stop"]
        if any(name.startswith("validation") for name in own["holders"]):
            loaders_of(trainer, "validation", make=True)
        set_reloads(trainer, own["reloads"])
        unknown = set_holder_states(self._holders(trainer, module), own["holders"])
        if unknown:
            _say(f"these random generators of the checkpoint are not in this run: {', '.join(unknown[:5])}")
        set_random_state(own["random"], trainer.strategy.root_device)
        if self._places is not None:
            self._places.call(loaded["to_come"], module)
            self._places.place = "batch" if loaded["place"] == "batch" else "epochs"

    def _find_batch(self, trainer: Trainer, module: LightningModule, own: Plain, fetcher: Any) -> None:
        self._epoch_start = {**own["epoch_start"], "random": own["random"] | own["epoch_start"]["random"]}
        count, is_over = batches_of_epoch(trainer)
        if is_over:
            return
        if trainer.current_epoch == 0:
            restart_workers(trainer)
        set_random_state(self._epoch_start["random"], trainer.strategy.root_device)
        set_holder_states(_holders_of("training", loaders_of(trainer, "training")), own["epoch_start"]["holders"])
        for loader, state in zip(loaders_of(trainer, "training"), own["loaders"], strict=True):
            if state is not None:
                loader.load_state_dict(state)
        iter(fetcher)
        self._note_data_state()
        begin_fetches(trainer, fetcher)
        self._isolate(trainer, fetcher)
        skip_batches(fetcher, count)

    # Draws of data in this process.

    def _isolate(self, trainer: Trainer, fetcher: Any) -> None:
        """Gives data that draw in this process a random state of their own: going through them again gives the same."""
        loaders = fetcher.combined_loader.flattened
        if len(loaders) == 1 and not draws_here(loaders[0]):
            return
        training: list[tuple[Any, ...]] = []

        def before() -> None:
            training.append(_global_state())
            _set_global_state(self._data_state)

        def after() -> None:
            self._data_state = _global_state()
            _set_global_state(training.pop())

        around_fetches(trainer, fetcher, before, after)

    def _note_data_state(self) -> None:
        self._data_state = _global_state()


def is_exact(checkpoint: dict[str, Any]) -> bool:
    """Whether `ExactResume` has made a checkpoint where nothing is half done; to be asked in `on_save_checkpoint`."""
    return checkpoint.get(_KEY, {}).get("place") is not None


def _holders_of(stage: Stage, loaders: Sequence[Any]) -> dict[str, Holder]:
    """The generators of loaders, and of what is in them, by name."""
    named = ((f"{stage}{number}", each) for number, each in enumerate(loaders))
    return generators_of(part for name, each in named for part in parts_of_loader(name, each))


def _global_state() -> tuple[Any, ...]:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _set_global_state(state: tuple[Any, ...]) -> None:
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])


def _say(what: str) -> None:
    if rank() == 0:
        print(f"note: {what}", flush=True)
