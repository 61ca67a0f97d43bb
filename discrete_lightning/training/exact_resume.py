"""A run that is cut and resumed goes on as the run that was never cut, to the bit."""

from typing import Any

from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from discrete_lightning.distributed import gather_objects, rank, world_size
from discrete_lightning.training.checkpoint_io import RunCheckpointIO
from discrete_lightning.training.resuming._fit_loop import Places, resume_loops
from discrete_lightning.training.resuming._loaders import Stage, loaders_of
from discrete_lightning.training.resuming.data_order import DataOrder, holders_of_loaders, holders_of_run, whole_order
from discrete_lightning.training.resuming.figures import figures, set_figures
from discrete_lightning.training.resuming.holders import holder_states, set_holder_states
from discrete_lightning.training.resuming.modes import Modes, begin_averaging
from discrete_lightning.training.resuming.pending import pending, pending_statistics, set_pending
from discrete_lightning.training.resuming.random_state import Holder, Plain, random_state, set_random_state
from discrete_lightning.training.resuming.rank_states import of_folder, rank_states, set_rank_states, without_repeats

_KEY = "exact_resume"  # in a checkpoint
_FORMAT = 1


class ExactResume(Callback):
    """Has checkpoints hold all that a resumed run needs to be equal, to the bit, to the run that was never cut.

    For any LightningModule. Beside what Lightning saves these are, of each rank: the states of torch's, numpy's and Python's
    random generators, and of those that loaders, data sets, modules and callbacks hold; the place in the order of the data;
    running means and metrics; which parameters are frozen, and which modules in evaluation mode; pending gradients and
    statistics of codebooks and routers, where a checkpoint falls in between the batches of one step; whether training was to
    stop. In the ordinary case that is 9 KB a rank, and some 20 microseconds a step
    (`python -m benchmarks.reliability.resume_cost`).

    Checkpoint callbacks save after the validation that follows a batch, not before it, so that nothing is half done. Batches
    of the epoch that were trained on are not loaded again, but for iterable data sets, several loaders, and worker processes,
    whose own draws have to go on: there they are read and dropped. A loader with `state_dict` and `load_state_dict`, such as
    torchdata's StatefulDataLoader, goes on by itself. Iterable data sets in the main process draw from a random state of their
    own.

    What it cannot restore it says in one line: a checkpoint saved in the middle of a step (by code of your own), another
    number of processes, a finder of Lightning in the resumed run. It knows nothing of attributes that a module or data set
    hides from `state_dict`, and of the draws of worker processes that persist or whose loader has a state of its own.

    The checkpoints of a Trainer with this callback are written to a file beside their place, synced and renamed.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[ExactResume()], accelerator="cpu", logger=False, enable_checkpointing=False)
    """

    def __init__(self) -> None:
        self._places: Places | None = None
        self._modes: Modes | None = None
        self._order: DataOrder | None = None
        self._steps_at_backward = -1

    def __getstate__(self) -> dict[str, Any]:
        """A copy belongs to no run."""
        return {**self.__dict__, "_places": None, "_modes": None, "_order": None}

    # Of a run.

    # Not in on_fit_start: before it, `trainer.estimated_stepping_batches` in `configure_optimizers` iterates the loaders.
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._release()
        self._steps_at_backward = -1
        self._modes, self._order = Modes(trainer, pl_module), DataOrder(trainer, pl_module)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = RunCheckpointIO(trainer)
        savers = [each for each in trainer.callbacks if isinstance(each, Checkpoint)]  # type: ignore[attr-defined]
        self._places = Places(trainer, savers, self._order)

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
        now = random_state(trainer.strategy.root_device)
        return {
            "random": now,
            "holders": holder_states(self._holders(trainer, module)),
            "figures": figures(trainer, module),
            "states": rank_states(trainer, module),
            "pending": pending(module) if waits_for_step else pending_statistics(module),
            "should_stop": trainer.should_stop,
            "modes": None if self._modes is None else self._modes.changes(trainer, module),
            "order": None if self._order is None else self._order.state(in_epoch, now),
        }

    def _holders(self, trainer: Trainer, module: LightningModule) -> dict[str, Holder]:
        stages: tuple[Stage, ...] = ("training", "validation")
        of_loaders = [holders_of_loaders(stage, loaders_of(trainer, stage)) for stage in stages]
        return holders_of_run(trainer, module) | of_loaders[0] | of_loaders[1]

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
        if loaded.get("format") != _FORMAT:
            _say(
                "another version of ExactResume saved the checkpoint: noise and the order of data are not those of an uncut run"
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
                "the checkpoint was saved in the middle of a step (save in a callback that is a Checkpoint): training goes on, "
                "but not as an uncut run, to the bit"
            )
            return
        own, order = self._own(loaded), self._order
        own = {**own, "order": whole_order(own["order"], own["random"])}
        assert order is not None  # `setup` has made it
        resume_loops(
            trainer,
            loaded["place"],
            lambda: order.make("training", own["order"]),
            lambda: self._restore(trainer, module, own, loaded),
            lambda fetcher: order.find_batch(own["order"], fetcher),
            goes_on=lambda: self._goes_on(trainer, loaded),
        )

    def _goes_on(self, trainer: Trainer, loaded: dict[str, Any]) -> bool:
        """Whether a run of the loops is the one that goes on, not one of a finder before it."""
        if self not in trainer.callbacks:  # type: ignore[attr-defined]
            return False
        if loaded["begun"] and trainer.fit_loop.total_batch_idx < 0:
            _say(
                "a LearningRateFinder or BatchSizeFinder has set training back to its first step, with the weights of the "
                "checkpoint: resume without it"
            )
            return False
        return True

    def _restore(self, trainer: Trainer, module: LightningModule, own: Plain, loaded: dict[str, Any]) -> None:
        places, order, modes = self._places, self._order, self._modes
        assert places is not None
        assert order is not None
        assert modes is not None
        set_pending(module, own["pending"])
        if "gradients" in own["pending"]:
            self._steps_at_backward = trainer.global_step
        set_rank_states(trainer, module, own["states"])
        set_figures(trainer, module, own["figures"], in_epoch=loaded["place"] == "batch")
        trainer.should_stop = own["should_stop"]
        if trainer.should_stop:
            _say("training had been told to stop (trainer.should_stop, EarlyStopping) before the checkpoint was saved")
        order.set_reloads(own["order"])
        begin_averaging(trainer, module)
        modes.set_changes(trainer, module, own["modes"])
        unknown = set_holder_states(self._holders(trainer, module), own["holders"])
        if unknown:
            _say(f"these random generators of the checkpoint are not in this run: {', '.join(unknown[:5])}")
        set_random_state(own["random"], trainer.strategy.root_device)
        places.call(loaded["to_come"], module)
        places.place = "batch" if loaded["place"] == "batch" else "epochs"


def is_exact(checkpoint: dict[str, Any]) -> bool:
    """Whether `ExactResume` has made a checkpoint where nothing is half done; to be asked in `on_save_checkpoint`."""
    return checkpoint.get(_KEY, {}).get("place") is not None


def _say(what: str) -> None:
    if rank() == 0:
        print(f"note: {what}", flush=True)
