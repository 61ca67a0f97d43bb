"""`load_from_checkpoint` for models whose arguments are modules: checkpoints hold the arguments as plain data."""

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from lightning.pytorch import LightningModule
from lightning.pytorch.core.saving import load_hparams_from_yaml
from torch import nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.layers.recorded import NotRecordedError, Recorded, made, parameters, recorded
from discrete_lightning.layers.relaxed import Relaxed
from discrete_lightning.training._lightning_private import class_of_config, class_only_method, read_values
from discrete_lightning.training.checkpoint_io import prepare, read_checkpoint
from discrete_lightning.training.damage import check_content, check_file
from discrete_lightning.training.migrations import check_model, mark, migrate

_ESTIMATORS = "estimators"  # in a checkpoint
_FROM_ENVIRONMENT = re.compile(r"\$\{oc\.env:(\w+)\}")  # as the command line writes it
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class RestorableModule(Recorded, LightningModule):
    """A LightningModule whose arguments are in `hparams` and in checkpoints, in the form of a config's `init_args`.

    Base of the models of this package. Subclasses with other arguments need nothing more.

    Example:
        >>> from discrete_lightning.models import CategoricalVAE
        >>> CategoricalVAE(latents=4, hidden=[8]).hparams["latents"]
        4
    """

    def __init__(self) -> None:
        super().__init__()
        self.hparams.update(class_of_config() | (self._recorded["init_args"] or {}))

    def record(self, **arguments: Any) -> None:
        """Replaces recorded arguments, where what was given may mean something else later, such as the name of a file."""
        plain = {name: recorded(value) for name, value in arguments.items()}
        (self._recorded["init_args"] or {}).update(plain)
        self.hparams.update(plain)

    def change_record(self, change: Callable[[Any], Any]) -> None:
        """Puts `change(arguments)` in the place of the recorded arguments."""
        if self._recorded["init_args"] is not None:
            self._recorded["init_args"].update(change(self._recorded["init_args"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Saves the arguments, also where a subclass has called `save_hyperparameters`, and the present estimators."""
        saved = {name: recorded(value) for name, value in self.hparams.items()} | (self._recorded["init_args"] or {})
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = saved
        checkpoint[_ESTIMATORS] = {name: recorded(layer.estimator) for name, layer in _sampling(self).items()}
        mark(checkpoint, self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Brings the checkpoint to the present format. Subclasses that override this call it first.

        Raises:
            CheckpointError: a later version or another model wrote the checkpoint, or its weights are not finite.
        """
        prepare(checkpoint, self, "the checkpoint")

    @class_only_method
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """The model of a checkpoint: made with the arguments it was made with, and with its weights.

        Args:
            checkpoint_path: of a file.
            map_location: as of `torch.load`.
            hparams_file: a YAML file of arguments, which replace those in the checkpoint.
            strict: whether the names of the weights have to be the same.
            weights_only: whether to read the file without running code; None means True.
            **kwargs: arguments of the constructor that replace those in the checkpoint. An argument that plain data cannot
                describe, such as a module of your own, has to be given. What is part of the weights, such as a temperature or
                the weight of a loss term, is that of the checkpoint: `set` it afterwards.

        Raises:
            ValueError: an argument is unknown, or neither in the checkpoint nor given; the checkpoint is damaged, is none, or
                is of another model or of a later version (CheckpointError).
        """
        weights_only = True if weights_only is None else weights_only
        name = "the checkpoint"
        if isinstance(checkpoint_path, str | Path) and "://" not in str(checkpoint_path):
            name, path = f"the checkpoint {checkpoint_path}", Path(checkpoint_path)
            check_file(path)
            values = read_checkpoint(path, "meta", weights_only)
        else:
            values, path = read_values(checkpoint_path, weights_only), Path("given")
        check_content(values, path)
        check_model(values, cls, name)
        migrate(values, cls, name)
        saved = dict(values.get(cls.CHECKPOINT_HYPER_PARAMS_KEY, {}))
        if hparams_file is not None:
            saved |= load_hparams_from_yaml(hparams_file, use_omegaconf=False)
        # Lightning would let the checkpoint choose who makes the model: its command line, from any classes named in there
        arguments: dict[str, Any] = {"_instantiator": None, **_arguments(cls, saved, kwargs)}
        model = super().load_from_checkpoint(checkpoint_path, map_location, None, strict, weights_only, **arguments)
        if not any(name == "estimator" or isinstance(given, nn.Module | Estimator) for name, given in kwargs.items()):
            _restore_estimators(model, values.get(_ESTIMATORS, {}))
        return model


def _arguments(cls: type[LightningModule], saved: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of the constructor: those given, and otherwise those saved."""
    kinds = {name: each.kind for name, each in parameters(cls).items()}
    open_ended = inspect.Parameter.VAR_KEYWORD in kinds.values()
    names = {name for name, kind in kinds.items() if kind in _BY_NAME}
    call = f"{cls.__name__}.load_from_checkpoint"
    unknown = [] if open_ended else sorted(set(given) - names)
    if unknown:
        raise ValueError(
            f"{call}: {cls.__name__} has no argument {', '.join(unknown)}; it has {', '.join(sorted(names))}"
        )
    missing = sorted(names - set(saved) - set(given))
    if missing:
        raise ValueError(
            f"{call}: the checkpoint does not say what {', '.join(missing)} was, because an earlier version or another class "
            f"wrote it: give it, as in {call}(path, {missing[0]}=...)"
        )
    found, objects = dict(given), dict[int, Any]()
    for name in saved:
        if name in given or name.startswith("_") or (name not in names and not open_ended):
            continue
        if (variable := _variable(saved[name])) is not None:
            raise ValueError(
                f"{call}: {name} came from the environment variable {variable}, which is not in the checkpoint: give it, as in "
                f"{call}(path, {name}=...)"
            )
        try:
            found[name] = made(saved[name], objects)
        except NotRecordedError as error:
            raise ValueError(f"{call}: {name} was {error}: give it, as in {call}(path, {name}=...)") from None
    return found


def _variable(value: Any) -> str | None:
    """The name of an environment variable that stands in the place of its value, or None."""
    if isinstance(value, str):
        found = _FROM_ENVIRONMENT.search(value)
        return None if found is None else found[1]
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return next((name for each in inside if (name := _variable(each)) is not None), None)


def _sampling(module: nn.Module) -> dict[str, Relaxed]:
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, Relaxed)}


def _restore_estimators(model: nn.Module, saved: Mapping[str, Any]) -> None:
    """Those that were set after construction, too."""
    layers = _sampling(model)
    for name in layers.keys() & saved.keys():
        if recorded(layers[name].estimator) != saved[name]:
            layers[name].set_estimator(made(saved[name]))
