"""LightningCLI as this package uses it: one sub-command at a time, our arguments, errors of one line.

Building an `App` parses and instantiates everything; `commands` runs it.
"""

from argparse import SUPPRESS, HelpFormatter, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning import __version__ as lightning_version
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from omegaconf.errors import OmegaConfBaseException

from discrete_lightning import __version__
from discrete_lightning._lazy import load_public_names
from discrete_lightning.cli.entry import own_help
from discrete_lightning.cli.errors import MISUSE, CliError, one_line
from discrete_lightning.cli.guards.names import check_names
from discrete_lightning.cli.guards.secrets import hidden, secrets_of
from discrete_lightning.cli.messages.failures import building_error, running_error, system_message
from discrete_lightning.cli.messages.help_text import first_screen
from discrete_lightning.cli.messages.option_checks import check_options
from discrete_lightning.cli.messages.parsing import parsing_error
from discrete_lightning.cli.messages.places import place_of, shown
from discrete_lightning.cli.trial import trial_trainer
from discrete_lightning.training._lightning_private import LightningInstantiator, change_hparams
from discrete_lightning.training.annealing import TemperatureAnnealing
from discrete_lightning.training.checkpoints import find_checkpoint
from discrete_lightning.training.damage import CheckpointError
from discrete_lightning.training.keyed_noise import KeyedNoise
from discrete_lightning.training.restorable import RestorableModule
from discrete_lightning.training.run import Run
from discrete_lightning.training.run_loggers import WandbOptions

Links = dict[str, Any]
MODE = "omegaconf+"  # of the parser: interpolations are resolved when all configs and options are known
_ROOT = "give --run_root a folder to write to"


class _Parser(LightningArgumentParser):
    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        for action in self._actions:
            if action.dest in ("config", "ckpt_path"):  # among the own options
                action.help = SUPPRESS
        head, _, rest = super().format_help(formatter).partition("\n\noptions:\n")
        command = self.usage.split()[1] if self.usage else "fit"
        return f"{head}\n\n{first_screen(command)}{own_help()}\nall options of configs:\n{rest}"


class App(LightningCLI):
    """Parses the command line and configs and builds model, data and trainer.

    Raises CliError where they are wrong or a class refuses its arguments, SystemExit after `--help` or `--print_config`.
    """

    def __init__(self, request: Namespace) -> None:
        self.request = request
        self.method = "fit" if request.command == "check" else request.command  # a `fit` that stops before it starts
        self.checkpoint = _checkpoint(request)
        load_public_names()  # jsonargparse resolves short names among the subclasses that are imported
        self._refused: tuple[type, Exception] | None = None
        checkpoint = [] if self.checkpoint is None else [f"--ckpt_path={self.checkpoint}"]
        args = [self.method, *(f"--config={source.path}" for source in request.sources), *request.args, *checkpoint]
        header = [f"discrete_lightning=={__version__}", f"lightning=={lightning_version}"]
        super().__init__(
            args=args,
            parser_class=_Parser,
            save_config_callback=None,
            auto_configure_optimizers=False,
            parser_kwargs={
                "prog": "discrete-lightning",
                "parser_mode": MODE,
                "exit_on_error": False,
                "allow_abbrev": False,
                self.method: {"dump_header": header, "usage": request.usage, "description": request.description},
            },
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Only the requested one: each takes a tenth of a second to set up."""
        given = {"verbose", "return_predictions", "weights_only"}  # by `commands`
        return {self.method: LightningCLI.subcommands()[self.method] | given}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds `temperature`, `wandb`, `test_after_fit` and `noise`."""
        parser.add_lightning_class_args(TemperatureAnnealing, "temperature")
        parser.add_class_arguments(WandbOptions, "wandb")
        parser.add_argument("--test_after_fit", type=bool, default=True, help="Test the trained weights after fit.")
        keyed = "'keyed': the same on any number of processes and after a resume, see KeyedNoise."
        parser.add_argument("--noise", type=Literal["torch", "keyed"], default="torch", help=keyed)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses `args`; an error becomes one line."""
        try:
            self.config = parser.parse_args(args)  # type: ignore[arg-type]
        except OmegaConfBaseException as error:
            raise CliError(f"the config cannot be resolved: {one_line(error)}{_named(self.request)}", MISUSE) from error
        except CliError:
            raise
        except RecursionError:
            raise CliError(f"the config names itself, or is nested too deeply{_named(self.request)}", MISUSE) from None
        except Exception as error:
            options = self._parser(self.method).get_defaults().keys()
            raise parsing_error(str(error), self.method, options, self.request) from error
        for group in ("trainer", "temperature", "wandb"):
            if self.config[self.method][group] is None:
                place = place_of(group, self.request)
                raise CliError(f"{group} is a group of options, not null: leave it out or set one{place}", MISUSE)
        check_options(self.config[self.method], self.request)
        check_names(self.config[self.method].trainer, self.request)
        if self.checkpoint is None:  # what a config says means the same as the option
            self.config[self.method].ckpt_path = _found(self.config[self.method].ckpt_path, self.request.run)

    def _parse_ckpt_path(self) -> None:
        """Does nothing: LightningCLI would let hyper-parameters in the checkpoint override configs and options."""

    def _add_instantiators(self) -> None:
        """Lightning's own, which record hyper-parameters, and one for all other classes: each records the class that failed."""
        for key, base in (("model", LightningModule), ("data", LightningDataModule)):
            self.parser.add_instantiator(self._noting(LightningInstantiator(cli=self, key=key)), base)
        self.parser.add_instantiator(self._noting(_construct), object)

    def _noting(self, construct: Callable[..., Any]) -> Callable[..., Any]:
        # jsonargparse tries the types of a union in turn and drops the errors of their constructors.
        def instantiator(class_type: type, *args: Any, applied_instantiation_links: Links, **kwargs: Any) -> Any:
            try:
                return construct(class_type, *args, applied_instantiation_links=applied_instantiation_links, **kwargs)
            except Exception as error:
                self._refused = class_type, error
                raise

        return instantiator

    def instantiate_classes(self) -> None:
        """Builds everything; an error of a constructor becomes one line."""
        try:
            super().instantiate_classes()
            hide = partial(hidden, known=secrets_of(self.request))
            for module in (self.model, self.datamodule):
                change_hparams(module, hide)
                if isinstance(module, RestorableModule):
                    module.change_record(hide)
        except CliError:
            raise
        except Exception as error:
            built, refusal = self._refused or (type(self), error)
            raise (self._building_error(built, refusal) or refusal) from None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer of a run: see `Run`."""
        options, request, parser = self.config_init[self.method], self.request, self._parser(self.method)
        given = self.config[self.method].temperature
        if given.schedule is None and given != parser.get_defaults().temperature:
            raise CliError("temperature has options but no schedule: add temperature.schedule, or remove them", MISUSE)
        name = request.sources[0].name if request.sources else type(self.model).__name__
        text = parser.dump(hidden(self.config[self.method], secrets_of(request)), skip_unset=False)
        suffix = "" if request.name == "fit" else f"-{request.name}"
        self.run = Run(name, text, request.run_root, suffix, request.run_dir, options.wandb, request.trust)
        write = request.command != "check" and not options.trainer.fast_dev_run
        try:
            arguments = self.run.trainer_arguments(
                options.trainer, write, self.method == "predict", request.command == "fit"
            )
            if options.noise == "keyed":
                arguments["callbacks"].insert(0, KeyedNoise())
            trainer = super().instantiate_trainer(**arguments, **kwargs)
            return self._trial() if request.command == "check" else trainer
        except FileExistsError as error:
            raise CliError(f"--run_dir {error}", MISUSE) from None
        except Exception as error:
            self.run.finish(1)
            if isinstance(error, OSError) and self.run.folder is None:
                raise CliError(f"the run folder cannot be made: {system_message(error)}; {_ROOT}") from None
            raise (self._building_error(Trainer, error) or error) from None

    def _building_error(self, built: type, error: Exception) -> CliError | None:
        return building_error(built, error, self.config[self.method], self.request)

    def running_error(self, error: Exception, started: bool) -> CliError | None:
        """The error to show for one that was raised while the trainer ran: see `failures.running_error`."""
        return running_error(error, started, self.ckpt_path, self.model, self.config[self.method], self.request)

    @property
    def callbacks(self) -> list[Callback]:
        """The callbacks of the config, and those that are options."""
        given = self.config_init[self.method].trainer.callbacks or []
        own = [self.config_init[self.method][key] for key in self._parser(self.method).callback_keys]
        own += [KeyedNoise()] if self.config_init[self.method].noise == "keyed" else []
        return [*(given if isinstance(given, list) else [given]), *own]

    def _trial(self) -> Trainer:
        return trial_trainer(self.config_init[self.method].trainer.as_dict(), self.callbacks)

    @property
    def ckpt_path(self) -> Any:
        """The checkpoint to load, from the command line or the config; or None."""
        return self.config_init[self.method].ckpt_path

    def _run_subcommand(self, subcommand: str) -> None:
        """Does nothing: `commands` runs the trainer once everything is built."""


def _construct(class_type: type, *args: Any, applied_instantiation_links: Links, **kwargs: Any) -> Any:  # noqa: ARG001
    return class_type(*args, **kwargs)


def _checkpoint(request: Namespace) -> str | None:
    """The checkpoint to load: what `--ckpt_path` means, or else the last one of the run to be evaluated."""
    given, run = request.ckpt_path, request.run
    if given is None and run is not None and request.command in ("validate", "test", "predict"):
        given = "last"
    return _found(given, run)


def _found(given: str | None, run: Path | None) -> str | None:
    """The path of the checkpoint that is given; names that Lightning alone knows stay."""
    if given is None or given in ("null", "hpc") or given.startswith("registry") or _is_remote(given):
        return given
    try:
        return str(find_checkpoint(given, run).resolve())
    except CheckpointError as error:
        raise CliError(str(error)) from None


def _named(request: Namespace) -> str:
    names = ", ".join(shown(source.path) for source in request.sources)
    return f" (in {names})" if names else ""


def _is_remote(path: str) -> bool:
    return "://" in path and not path.startswith("file://")
