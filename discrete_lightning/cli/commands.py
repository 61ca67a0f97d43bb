"""The commands that run a trainer, from the parsed command line to what is printed at the end."""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.multiprocessing.spawn import ProcessRaisedException

from discrete_lightning.cli import trust
from discrete_lightning.cli._jsonargparse_private import parsing_rules
from discrete_lightning.cli.app import App
from discrete_lightning.cli.errors import CliError
from discrete_lightning.cli.messages import running_error
from discrete_lightning.training.atomic_write import WriteError
from discrete_lightning.training.checkpoints import checkpoints_of_run
from discrete_lightning.training.damage import CheckpointError
from discrete_lightning.training.global_state import keep_global_state
from discrete_lightning.training.quiet import quiet
from discrete_lightning.training.run_report import print_metrics, print_run, temperatures


def run(request: Namespace, argv: Sequence[str]) -> int:
    """Runs one command and returns the exit code.

    Args:
        request: see `entry.read_command`.
        argv: the command line as it was given.

    Raises:
        CliError: an error that the user can correct.
    """
    with _session(argv, request.trust):
        try:
            app = App(request)
        except SystemExit as stop:  # --help, --print_config
            return int(stop.code or 0)
        if request.command == "check":
            parameters = sum(parameter.numel() for parameter in app.model.parameters())
            data = "no data module" if app.datamodule is None else f"data {type(app.datamodule).__name__}"
            print(f"OK: {app.run.name}: model {type(app.model).__name__}, {data}, {parameters:,} parameters")
            return 0
        return _run(app)


@contextmanager
def _session(argv: Sequence[str], trusted: Sequence[str]) -> Iterator[None]:
    """Sets up the process for one run and restores it. Lightning starts further processes (`ddp`) from `sys.argv`."""
    rules = {"import_path_denylist": trust.DENIED, "import_path_allowlist": trust.allowed(trusted)}
    paths = {"omegaconf_absolute_to_relative_paths": True, "instantiate_subclass_spec_in_any": False}
    with keep_global_state(), quiet(), parsing_rules(**paths, **rules):
        # LightningCLI 2.6 calls jsonargparse by names that 4.53 renamed; users cannot change that.
        os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"
        sys.argv = [*sys.argv[:1], *argv]
        if trusted and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # `--trust my_model` means ./my_model.py, which a console script cannot see
        yield


def _run(app: App) -> int:
    start, code = time.monotonic(), 1
    recorder, request = app.run.recorder, app.request
    if request.command != "fit" and app.checkpoint is None and app.ckpt_path is None:
        print(f"note: without -c RUN or --ckpt_path, {request.name} uses untrained weights", file=sys.stderr)
    try:
        results = _call(app)
        code = 0
    except SystemExit:
        # Lightning ends in this way after Ctrl-C, after its teardown.
        if recorder.exit_code is None:
            raise
        code = recorder.exit_code
        if app.trainer.is_global_zero:
            _report_interruption(app)
        return code
    except Exception as error:
        explanation = _of_child(error) or running_error(error, recorder.started, app.ckpt_path)
        if explanation is None:
            raise
        if (
            isinstance(error, WriteError)
            and app.run.folder is not None
            and (left := checkpoints_of_run(app.run.folder))
        ):
            explanation = CliError(
                f"{explanation}; {left[0].name} is whole: make room, then go on with: {_resume(app)}"
            )
        raise explanation from error
    finally:
        app.run.finish(code, partial_results=request.command != "predict")
    if app.trainer.is_global_zero:
        print_metrics(results)
        print_run(app.run.folder, time.monotonic() - start)
    return code


def _call(app: App) -> Sequence[Mapping[str, float]]:
    command, trainer, model = app.request.command, app.trainer, app.model
    loaded: dict[str, Any] = {"datamodule": app.datamodule, "ckpt_path": app.ckpt_path, "weights_only": True}
    if command == "fit":
        trainer.fit(model, **loaded)
        if not app.run.recorder.trained:
            print(f"note: nothing was trained: {_why_untrained(app)}", file=sys.stderr)
            return []
        data = model if app.datamodule is None else app.datamodule
        testable = is_overridden("test_dataloader", data) and is_overridden("test_step", model)
        wanted = app.config_init[app.method].test_after_fit and app.run.folder is not None
        tested = trainer.test(model, datamodule=app.datamodule, verbose=False) if wanted and testable else []
        return [*tested, temperatures(model)]
    if command == "predict":
        trainer.predict(model, return_predictions=False, **loaded)
        if not app.run.recorder.started:
            print("note: nothing was predicted: the prediction set has no batches", file=sys.stderr)
        return []
    evaluate = trainer.validate if command == "validate" else trainer.test
    return evaluate(model, verbose=False, **loaded)


def _report_interruption(app: App) -> None:
    last = app.run.recorder.checkpoint
    if last is None or not last.exists():
        print("interrupted; there is no checkpoint to resume from", file=sys.stderr)
        return
    print(f"interrupted; the weights are in {last}; resume with: {_resume(app)}", file=sys.stderr)


def _resume(app: App) -> str:
    trusted = "".join(f" --trust {prefix}" for prefix in app.request.trust)
    return f"discrete-lightning fit -c {app.run.folder}{trusted} --ckpt_path last"


def _why_untrained(app: App) -> str:
    trainer = app.trainer
    if trainer.limit_train_batches == 0:
        return "trainer.limit_train_batches is 0"
    if trainer.max_epochs == 0 or trainer.max_steps == 0:
        return f"trainer.{'max_epochs' if trainer.max_epochs == 0 else 'max_steps'} is 0"
    if app.ckpt_path is not None:
        limit = "max_epochs" if trainer.max_steps < 0 else "max_steps"
        return f"the checkpoint has reached trainer.{limit} ({getattr(trainer, limit)}): raise it to train on"
    return "the training set has no batches"


def _of_child(error: Exception) -> CliError | None:
    """The error for one of these raised in a process of `ddp_spawn` or `ddp_fork`, of which only the text is known."""
    if not isinstance(error, ProcessRaisedException):
        return None
    name, _, message = str(error).strip().splitlines()[-1].partition(": ")
    return CliError(message) if name.rpartition(".")[2] in (CheckpointError.__name__, WriteError.__name__) else None
