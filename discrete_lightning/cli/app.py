"""LightningCLI as this package uses it: one sub-command at a time, our arguments, errors of one line.

Building an `App` parses and instantiates everything; `commands` runs it.
"""

import importlib
from argparse import HelpFormatter
from collections.abc import Callable
from typing import Any

from lightning import __version__ as lightning_version
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from omegaconf.errors import OmegaConfBaseException

from discrete_lightning import __version__
from discrete_lightning.cli.checkpoints import select_checkpoint
from discrete_lightning.cli.errors import MISUSE, CliError, one_line
from discrete_lightning.cli.explain import explain_building
from discrete_lightning.cli.invocation import OPTIONS_HELP, Invocation
from discrete_lightning.cli.loggers import WandbOptions
from discrete_lightning.cli.run_trainer import RunTrainer
from discrete_lightning.cli.typos import explain_parsing
from discrete_lightning.schedules import Schedule
from discrete_lightning.training._lightning_private import LightningInstantiator
from discrete_lightning.training.annealing import TemperatureAnnealing

# Whose classes configs can name in short: jsonargparse resolves such names among the subclasses that are imported.
_NAMED = (
    "models", "data", "callbacks", "estimators", "nn", "losses", "metrics", "oracles", "constraints", "design", "schedules",
)  # fmt: skip
Links = dict[str, Any]
# Arguments of the Trainer's methods that are ours to give: the rest is `--ckpt_path`.
_GIVEN = {
    "model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders", "verbose", "return_predictions",
    "weights_only",
}  # fmt: skip


class _Parser(LightningArgumentParser):
    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        return f"{super().format_help(formatter)}\n{OPTIONS_HELP}"


class App(LightningCLI):
    """Parses the command line and configs and builds model, data and trainer.

    Args:
        invocation: what was asked for.

    Raises:
        CliError: the config or the command line is wrong, or a class refuses its arguments.
        SystemExit: after `--help` or `--print_config`.
    """

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        # `check` is a `fit` that stops before it starts, `decode` a prediction whose data are codes.
        self.method = {"check": "fit", "decode": "predict"}.get(invocation.command, invocation.command)
        self.checkpoint = select_checkpoint(invocation)
        for name in _NAMED:
            module = importlib.import_module(f"discrete_lightning.{name}")
            for each in getattr(module, "__all__", ()):  # a lazy face imports what it hands on when it is asked
                getattr(module, each)
        self._refused: tuple[type, Exception] | None = None
        args = [self.method]
        for source in invocation.sources:
            args += ["--config", str(source.path)]
        args += invocation.args
        if self.checkpoint is not None:
            args.append(f"--ckpt_path={self.checkpoint}")
        header = [f"discrete_lightning=={__version__}", f"lightning=={lightning_version}"]
        super().__init__(
            args=args,
            parser_class=_Parser,
            save_config_callback=None,
            auto_configure_optimizers=False,
            parser_kwargs={
                "prog": "discrete-lightning",
                "parser_mode": "omegaconf+",
                "exit_on_error": False,
                "allow_abbrev": False,
                self.method: {"dump_header": header, "usage": f"discrete-lightning {self.method} -c CONFIG [options]"},
            },
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Only the one that was asked for: each takes a tenth of a second to set up."""
        return {self.method: _GIVEN}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds `temperature`, `wandb` and `test_after_fit`."""
        # As two arguments, since a class's argument without default is required, and the group is optional.
        parser.add_class_arguments(TemperatureAnnealing, "temperature", skip={"schedule"}, instantiate=False)
        schedule_help = "Step -> temperature; none by default."
        parser.add_argument("--temperature.schedule", type=Schedule | None, help=schedule_help)
        parser.add_class_arguments(WandbOptions, "wandb")
        parser.add_argument("--test_after_fit", type=bool, default=True, help="Test the trained weights after fit.")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses `args`; what is wrong with them becomes one line."""
        try:
            self.config = parser.parse_args(args)  # type: ignore[arg-type]
        except OmegaConfBaseException as error:
            raise CliError(f"the config cannot be resolved: {one_line(error)}", MISUSE) from error
        except Exception as error:
            options = self._parser(self.method).get_defaults().keys()
            raise explain_parsing(str(error), self.method, options) from error

    def _parse_ckpt_path(self) -> None:
        """Does nothing: LightningCLI would let hyper-parameters in the checkpoint win over configs and options."""

    def _add_instantiators(self) -> None:
        """Lightning's own, which record hyper-parameters, and one for all other classes: each notes who refused."""
        for key, base in (("model", LightningModule), ("data", LightningDataModule)):
            self.parser.add_instantiator(self._noting(LightningInstantiator(cli=self, key=key)), base)
        self.parser.add_instantiator(self._noting(_construct), object)

    def _noting(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        # jsonargparse tries the types of a union in turn and swallows what their constructors say.
        def instantiator(class_type: type, *args: Any, applied_instantiation_links: Links, **kwargs: Any) -> Any:
            try:
                return construct(class_type, *args, applied_instantiation_links=applied_instantiation_links, **kwargs)
            except Exception as error:
                self._refused = class_type, error
                raise

        return instantiator

    def instantiate_classes(self) -> None:
        """Builds everything; a class that refuses its arguments becomes one line."""
        try:
            super().instantiate_classes()
        except CliError:
            raise
        except Exception as error:
            built, refusal = self._refused or (type(self), error)
            raise (explain_building(built, refusal) or refusal) from None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer of a run: see `RunTrainer`."""
        options = self.config_init[self.method]
        parser = self._parser(self.method)
        annealing = self._annealing(options.temperature)
        text = parser.dump(self.config[self.method], skip_unset=False)
        self.run = RunTrainer(self.invocation, self.model, text, options.wandb)
        arguments = self.run.arguments(options.trainer, [annealing] if annealing else [])
        try:
            return super().instantiate_trainer(**arguments, **kwargs)
        except Exception as error:
            self.run.discard()
            raise (explain_building(Trainer, error) or error) from None

    def _annealing(self, options: Any) -> TemperatureAnnealing | None:
        if options.schedule is not None:
            try:
                return TemperatureAnnealing(**options.as_dict())
            except ValueError as error:
                raise CliError(f"TemperatureAnnealing: {error}") from error
        defaults = self._parser(self.method).get_defaults().temperature
        if options != defaults:
            raise CliError("temperature has options but no schedule: add temperature.schedule, or remove them", MISUSE)
        return None

    @property
    def ckpt_path(self) -> str | None:
        """The checkpoint to load, from the command line or the config."""
        path: str | None = self.config_init[self.method].ckpt_path
        return path

    def _run_subcommand(self, subcommand: str) -> None:
        """Does nothing: `commands` runs the trainer once everything is built."""


def _construct(class_type: type, *args: Any, applied_instantiation_links: Links, **kwargs: Any) -> Any:  # noqa: ARG001
    return class_type(*args, **kwargs)
