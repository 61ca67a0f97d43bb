"""`fit`, `validate`, `test`, `predict`, `decode` and `check`, from the parsed command line to what is printed at the end."""

import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities.model_helpers import is_overridden

from discrete_lightning.cli.app import App
from discrete_lightning.cli.checkpoints import LAST
from discrete_lightning.cli.decode import (
    Decoder,
    loader,
    read_codes,
    write_images,
)
from discrete_lightning.cli.explain import explain_running
from discrete_lightning.cli.invocation import Invocation
from discrete_lightning.cli.result import print_metrics, print_run
from discrete_lightning.cli.session import session
from discrete_lightning.cli.sources import CHECKPOINTS
from discrete_lightning.layers.temperature import Temperature

Results = Sequence[Any]


def run(invocation: Invocation, argv: Sequence[str]) -> int:
    """Runs one command and returns the exit code.

    Args:
        invocation: the command line, taken apart, its configs trusted.
        argv: the command line as it was given.

    Raises:
        CliError: what a user can mend.
    """
    with session(argv, invocation.trust):
        try:
            app = App(invocation)
        except SystemExit as stop:  # --help, --print_config
            return int(stop.code or 0)
        if invocation.command == "check":
            return _report_check(app)
        return _run(app)


def _report_check(app: App) -> int:
    parameters = sum(parameter.numel() for parameter in app.model.parameters())
    data = "no data module" if app.datamodule is None else f"data {type(app.datamodule).__name__}"
    print(f"OK: {app.run.name}: model {type(app.model).__name__}, {data}, {parameters:,} parameters")
    return 0


def _run(app: App) -> int:
    start = time.monotonic()
    recorder, command = app.run.recorder, app.invocation.command
    if command != "fit" and app.checkpoint is None and app.ckpt_path is None:
        print(f"note: without -c RUN or --ckpt_path, {command} uses untrained weights", file=sys.stderr)
    code = 1
    try:
        results = _call(app)
        code = 0
    except SystemExit:
        # So Lightning ends after Ctrl-C, when everything is torn down.
        if recorder.exit_code is None:
            raise
        code = recorder.exit_code
        _report_interruption(app)
        return code
    except Exception as error:
        explanation = explain_running(error, recorder.started, app.ckpt_path)
        if explanation is None:
            raise
        raise explanation from error
    finally:
        app.run.finish(code)
        if code != 0:
            app.run.discard()
    if app.trainer.is_global_zero:
        if command not in ("predict", "decode"):
            print_metrics(results)
        print_run(app.run.folder, time.monotonic() - start)
    return code


def _call(app: App) -> Results:
    command, trainer, model = app.invocation.command, app.trainer, app.model
    loaded: dict[str, Any] = {"datamodule": app.datamodule, "ckpt_path": app.ckpt_path, "weights_only": True}
    if command == "fit":
        trainer.fit(model, **loaded)
        wanted = app.config_init[app.method].test_after_fit and app.run.folder is not None
        tested = trainer.test(model, datamodule=app.datamodule, verbose=False) if wanted and _has_test(app) else []
        return [*tested, _temperatures(model)]
    if command == "predict":
        return _predict(app, loaded)
    if command == "decode":
        return _decode(app)
    evaluate = trainer.validate if command == "validate" else trainer.test
    return evaluate(model, verbose=False, **loaded)


def _temperatures(model: LightningModule) -> dict[str, float]:
    """The final temperature, or those of several layers by name."""
    found = {name: float(each().detach()) for name, each in model.named_modules() if isinstance(each, Temperature)}
    if found and len(set(found.values())) == 1:
        return {"temperature": found.popitem()[1]}
    return {f"temperature/{name}": tau for name, tau in found.items()}


def _has_test(app: App) -> bool:
    data = app.model if app.datamodule is None else app.datamodule
    return is_overridden("test_dataloader", data) and is_overridden("test_step", app.model)


def _predict(app: App, loaded: dict[str, Any]) -> Results:
    """Predictions go to the run's folder, unless a callback of the config writes them."""
    trainer = app.trainer
    written = any(isinstance(each, BasePredictionWriter) for each in trainer.callbacks)  # type: ignore[attr-defined]
    results = trainer.predict(app.model, return_predictions=not written, **loaded)
    if not written and app.run.folder is not None:
        rank = "" if trainer.world_size == 1 else f"-rank{trainer.global_rank}"
        torch.save(results, app.run.folder / f"predictions{rank}.pt")
    return []


def _decode(app: App) -> Results:
    codes = read_codes(app.invocation.codes)
    try:
        images = app.trainer.predict(Decoder(app.model), loader(codes), ckpt_path=app.ckpt_path, weights_only=True)
    except Exception:
        app.run.recorder.started = False  # nothing was written: the folder goes
        raise
    if app.run.folder is not None and app.trainer.is_global_zero:
        write_images(images or [], app.run.folder)  # type: ignore[arg-type]
    return []


def _report_interruption(app: App) -> None:
    folder = app.run.folder
    if not app.trainer.is_global_zero:
        return
    if folder is None or not (last := folder / CHECKPOINTS / LAST).exists():
        print("interrupted; there is no checkpoint to resume from", file=sys.stderr)
        return
    trust = "".join(f" --trust {prefix}" for prefix in app.invocation.trust)
    resume = f"discrete-lightning fit -c {folder}{trust} --ckpt_path last"
    print(f"interrupted; the weights are in {last}; resume with: {resume}", file=sys.stderr)
