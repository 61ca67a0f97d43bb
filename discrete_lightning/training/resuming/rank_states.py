"""States of callbacks and modules that differ from rank to rank. Lightning saves those of rank 0."""

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from discrete_lightning.distributed import world_size
from discrete_lightning.protocols import HasRankState
from discrete_lightning.training.resuming.random_state import Plain, same


def rank_states(trainer: Trainer, module: LightningModule) -> Plain:
    """The states of this rank."""
    callbacks = {each.state_key: each.state_dict() for each in _callbacks(trainer)} if world_size() > 1 else {}
    return {"callbacks": callbacks, "own": {name: each.rank_state() for name, each in _owners(trainer, module)}}


def set_rank_states(trainer: Trainer, module: LightningModule, state: Plain) -> None:
    """Restores `rank_states`, once Lightning has restored those of rank 0."""
    for callback in _callbacks(trainer):
        if callback.state_key in state["callbacks"]:
            callback.load_state_dict(of_folder(callback, state["callbacks"][callback.state_key]))
    for name, each in _owners(trainer, module):
        if name in state["own"]:
            each.set_rank_state(state["own"][name], module.device)


def without_repeats(states: list[Plain]) -> list[Plain]:
    """The states of all ranks, without those of callbacks that are the same as on rank 0."""
    first = states[0]["callbacks"] if states else {}
    return [
        state | {"callbacks": {key: each for key, each in state["callbacks"].items() if not same(each, first.get(key))}}
        for state in states
    ]


def of_folder(callback: Callback, state: Any) -> Any:
    """The state of a ModelCheckpoint as of its present folder: the best so far is the one to beat, wherever it lies."""
    if isinstance(callback, ModelCheckpoint) and state and "dirpath" in state:
        return {**state, "dirpath": callback.dirpath}
    return state


def _callbacks(trainer: Trainer) -> list[Callback]:
    return trainer.callbacks  # type: ignore[attr-defined]


def _owners(trainer: Trainer, module: LightningModule) -> Iterator[tuple[str, HasRankState]]:
    owners: list[tuple[str, Any]] = [(f"module.{name}", each) for name, each in module.named_modules()]
    owners += [(f"callback.{each.state_key}", each) for each in _callbacks(trainer)]
    yield from ((name, each) for name, each in owners if isinstance(each, HasRankState))
