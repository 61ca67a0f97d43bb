"""The commands that run a trainer, from the parsed command line to what is printed at the end."""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.utilities.model_helpers import is_overridden

from discrete_lightning.cli._jsonargparse_private import kinds_checked, parsing_rules, texts_checked
from discrete_lightning.cli.app import MODE, App
from discrete_lightning.cli.errors import FAILURE, CliError
from discrete_lightning.cli.guards import trust
from discrete_lightning.cli.guards.config_text import check_text
from discrete_lightning.cli.messages.next_steps import next_commands
from discrete_lightning.cli.messages.nodes import announce_nodes
from discrete_lightning.cli.trial import try_one_batch
from discrete_lightning.data.user_modules import imports_checked
from discrete_lightning.protocols import OutsideFault
from discrete_lightning.training import run_report
from discrete_lightning.training.atomic_write import WriteError
from discrete_lightning.training.global_state import keep_global_state
from discrete_lightning.training.launched import LostProcess, error_of_child
from discrete_lightning.training.quiet import quiet


def run(request: Namespace, argv: Sequence[str]) -> int:
    """Runs one command and returns the exit code.

    Args:
        request: see `entry.read_command`.
        argv: the command line as it was given.

    Raises:
        CliError: an error that the user can correct.
    """
    with _session(argv, request):
        try:
            app = App(request)
        except SystemExit as stop:  # --help, --print_config
            return int(stop.code or 0)
        if request.command == "check":
            tried = "; one batch was trained on and validated" if _check(app) else ""
            parameters = sum(parameter.numel() for parameter in app.model.parameters())
            data = "no data module" if app.datamodule is None else f"data {type(app.datamodule).__name__}"
            print(f"OK: {app.run.name}: model {type(app.model).__name__}, {data}, {parameters:,} parameters{tried}")
            return 0
        return _run(app)


def _check(app: App) -> bool:
    try:
        return try_one_batch(app.trainer, app.model, app.datamodule, app.callbacks)
    except Exception as error:
        explanation = app.running_error(error, False)
        raise (explanation or error) from error


@contextmanager
def _session(argv: Sequence[str], request: Namespace) -> Iterator[None]:
    """Sets up the process for one run and restores it. Lightning starts further processes (`ddp`) from `sys.argv`."""
    trusted: Sequence[str] = request.trust
    rules = {"import_path_denylist": trust.DENIED, "import_path_allowlist": trust.allowed(trusted)}

    request.texts = []

    def check_seen(text: str) -> None:
        check_text(text)
        if "oc.env" in text:
            request.texts.append(text)

    def check(path: str, argument: str) -> None:
        trust.check_import(path, argument, trusted, request)

    def is_harmless(found: Any) -> bool:
        return trust.is_harmless(found, trusted)

    paths = {"omegaconf_absolute_to_relative_paths": True, "instantiate_subclass_spec_in_any": False}
    with (
        keep_global_state(),
        quiet(),
        parsing_rules(**paths, **rules),
        imports_checked(check),
        kinds_checked(is_harmless),
        texts_checked(MODE, check_seen),
    ):
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
    announce_nodes(app.trainer)
    try:
        with recorder.signals.handled():
            results = _call(app)
        commands = next_commands(app)
        code = 0
    except (Exception, SystemExit) as raised:
        if recorder.exit_code is not None:  # after a signal, and after Lightning's teardown
            code = recorder.exit_code
            if not recorder.is_told_elsewhere(app.trainer):
                run_report.print_interruption(app.run.folder, recorder.checkpoint, request.trust, code)
            return code
        if isinstance(raised, SystemExit):
            raise
        if recorder.watch is not None and recorder.watch.is_victim:
            return FAILURE  # another rank has failed, and told of it
        error = error_of_child(raised) or raised
        explanation = app.running_error(error, recorder.started)
        if explanation is None:
            raise
        explanation.args = (f"{recorder.rank_prefix}{explanation}",)
        if isinstance(error, WriteError):
            explanation = CliError(f"{explanation}{run_report.what_is_left(app.run.folder, request.trust)}")
        if isinstance(error, OutsideFault | LostProcess) and request.command == "fit":
            explanation.after = run_report.how_to_resume(app.run.folder, recorder.checkpoint, request.trust)
        raise explanation from error
    finally:
        app.run.finish(code, partial_results=request.command != "predict")
        recorder.finish(app.trainer)
    if app.trainer.is_global_zero:
        run_report.print_metrics(results)
        if request.command in ("fit", "validate", "test"):
            run_report.print_repeated(app.trainer, "val" if request.command == "validate" else "test")
        run_report.print_run(app.run.folder, time.monotonic() - start)
        if commands:
            print("next:", *commands, sep="\n  ")
    return code


def _call(app: App) -> Sequence[Mapping[str, float]]:
    command, trainer, model = app.request.command, app.trainer, app.model
    loaded: dict[str, Any] = {"datamodule": app.datamodule, "ckpt_path": app.ckpt_path, "weights_only": True}
    if command == "fit":
        loaded["ckpt_path"] = app.run.restart_checkpoint or app.ckpt_path
        trainer.fit(model, **loaded)
        if not app.run.recorder.trained:
            run_report.print_untrained(trainer, app.ckpt_path is not None)
            return []
        data = model if app.datamodule is None else app.datamodule
        testable = is_overridden("test_dataloader", data) and is_overridden("test_step", model)
        wanted = app.config_init[app.method].test_after_fit and app.run.folder is not None
        tested = trainer.test(model, datamodule=app.datamodule, verbose=False) if wanted and testable else []
        return [*tested, run_report.temperatures(model)]
    if command == "predict":
        trainer.predict(model, return_predictions=False, **loaded)
        if not app.run.recorder.started:
            print("note: nothing was predicted: the prediction set has no batches", file=sys.stderr)
        return []
    evaluate = trainer.validate if command == "validate" else trainer.test
    return evaluate(model, verbose=False, **loaded)
