"""Paths of classes and functions that would run code, read a pickle or write a file, named in configs and in checkpoints.

python -m benchmarks.reliability.class_paths       # prints a line a path, and the counts; exit 1 if the bar is missed

Bar: 30 paths or more, all refused, nothing executed. Each path is named in ten of the places where a config can name one: as
model, as data, among the callbacks, as the function that an argument asks for, inside a list, a mapping and another class's
arguments, in a file that the config names, by an environment variable, ...; and among the arguments in a checkpoint. What
would have run leaves a file as its trace.
"""

import contextlib
import importlib
import io
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]

from benchmarks.reliability.damaged_wandb import environment
from discrete_lightning.cli import main as discrete_lightning
from discrete_lightning.design import FromNothing
from discrete_lightning.models import SequenceDesigner, VQAutoencoder
from discrete_lightning.oracles import TFBind8
from discrete_lightning.storage.digest import save_with_digest

_TOUCH = "touch executed"
_PYTHON = "open('executed', 'w')"
# path -> arguments that would leave the file `executed`
PATHS: dict[str, dict[str, Any]] = {
    "os.system": {"command": _TOUCH},
    "posix.system": {"command": _TOUCH},
    "os.popen": {"cmd": _TOUCH},
    "os.mkdir": {"path": "executed"},
    "subprocess.Popen": {"args": ["touch", "executed"]},
    "subprocess.run": {"args": ["touch", "executed"]},
    "subprocess.check_output": {"args": ["touch", "executed"]},
    "builtins.eval": {"source": _PYTHON},
    "builtins.exec": {"source": _PYTHON},
    "builtins.open": {"file": "executed", "mode": "w"},
    "builtins.__import__": {"name": "planted"},
    "importlib.import_module": {"name": "planted"},
    "runpy.run_path": {"path_name": "planted.py"},
    "pathlib.Path.touch": {"self": "executed"},
    "shutil.copyfile": {"src": "planted.py", "dst": "executed"},
    "pickle.loads": {"data": ""},
    "functools.partial": {"func": "os.system"},
    "ctypes.CDLL": {"name": "libc.so.6"},
    "yaml.unsafe_load": {"stream": "!!python/object/apply:os.system ['touch executed']"},
    "numpy.load": {"file": "planted.npy", "allow_pickle": True},
    "jsonargparse.set_parsing_settings": {},
    "planted.Model": {},
    "torch.os.system": {"command": _TOUCH},
    "torch.load": {"f": "planted.pt", "weights_only": False},
    "torch.save": {"obj": 1, "f": "executed"},
    "torch.serialization.load": {"f": "planted.pt", "weights_only": False},
    "torch.hub.load": {"repo_or_dir": ".", "model": "model", "source": "local"},
    "torch.hub.load_state_dict_from_url": {"url": "file:planted.pt"},
    "torch.hub.download_url_to_file": {"url": "file:planted.py", "dst": "executed"},
    "torch.utils.cpp_extension.load": {"name": "planted", "sources": ["planted.cpp"]},
    "torch.utils.cpp_extension.load_inline": {"name": "planted", "cpp_sources": [""]},
    "torch.utils.collect_env.run": {"command": _TOUCH},
    "torch.utils.data.datapipes.iter.FileOpener": {"datapipe": ["executed"], "mode": "w"},
    "torch.utils.data.datapipes.iter.IterableWrapper": {"iterable": []},
    "torch.utils.model_zoo.load_url": {"url": "file:planted.pt"},
    "torch.jit.load": {"f": "planted.pt"},
    "torch.jit.ScriptModule": {},
    "torch.fx.GraphModule": {"root": {}, "graph": None},
    "torch.package.PackageImporter": {"file_or_buffer": "planted.pt"},
    "torch.export.load": {"f": "planted.pt"},
    "torch.ops.load_library": {"path": "planted.so"},
    "torch.classes.load_library": {"path": "planted.so"},
    "torch.compile": {"model": "os.system"},
    "torch.multiprocessing.spawn": {"fn": "os.system", "args": [_TOUCH]},
    "torch.distributed.run.main": {"args": ["planted.py"]},
    "torch.distributed.launch.main": {"args": ["planted.py"]},
    "torch.distributed.init_process_group": {"init_method": "file://executed"},
    "torch.distributed.elastic.multiprocessing.start_processes": {"entrypoint": "/bin/touch", "args": ["executed"]},
    "torch.distributed.nn.RemoteModule": {"remote_device": "w0", "module_cls": "planted.Model"},
    "torch.testing._internal.common_utils.shell": {"command": ["touch", "executed"]},
    "torch.nn.Module.load_state_dict": {"self": None, "state_dict": {}},
    "torch.nn.modules.module.torch.load": {"f": "planted.pt", "weights_only": False},
    "torch.nn.modules.module.warnings.sys": {},
    "torch.optim.Optimizer.load_state_dict": {"state_dict": {}},
    "lightning.pytorch.cli.LightningCLI": {"args": ["fit", "--model=planted.Model"]},
    "lightning.pytorch.cli.instantiate_module": {"cls": "planted.Model", "config": {}},
    "lightning.pytorch.cli.SaveConfigCallback": {"parser": None, "config": None, "config_filename": "executed"},
    "lightning.pytorch.callbacks.LambdaCallback": {"setup": "os.system"},
    "lightning.pytorch.LightningModule.load_from_checkpoint": {"checkpoint_path": "planted.pt"},
    "lightning.pytorch.core.saving.load_hparams_from_yaml": {"config_yaml": "planted.yaml"},
    "lightning.pytorch.core.saving.save_hparams_to_yaml": {"config_yaml": "executed", "hparams": {}},
    "lightning.fabric.utilities.cloud_io._load": {"path_or_url": "planted.pt"},
    "lightning.pytorch.strategies.launchers.subprocess_script.subprocess.Popen": {"args": ["touch", "executed"]},
    "pytorch_lightning.callbacks.LambdaCallback": {"setup": "os.system"},
    "torchmetrics.utilities.imports.os.system": {"command": _TOUCH},
    "discrete_lightning.cli.main": {"argv": ["cp", "vq/quickstart", "executed"]},
    "discrete_lightning.cli.configs.copy_config": {"name": "vq/quickstart", "target": "executed"},
    "discrete_lightning.training.atomic_write.write_text": {"path": "executed", "text": ""},
    "discrete_lightning.training.checkpoint_io.read_checkpoint": {"path": "planted.pt", "weights_only": False},
    "discrete_lightning.data.download.download": {"source": None, "file": "executed", "folder": "."},
    "discrete_lightning._lazy.importlib.import_module": {"name": "planted"},
}  # fmt: skip
_BASE = """\
model: {class_path: VQAutoencoder, init_args: {hidden: 4}}
data: {class_path: Digits}
trainer: {max_epochs: 1, limit_train_batches: 1, limit_val_batches: 1, accelerator: cpu}
"""
_DESIGN = """\
model:
  class_path: SequenceDesigner
  init_args: {oracle: discrete_lightning.oracles.TFBind8, start: {class_path: FromNothing, init_args: {length: 8}}, designs: 2,
    search: {class_path: GradientSearch, init_args: {chains: 2, steps: 1}}}
trainer: {max_epochs: -1, accelerator: cpu}
"""
_LIGHTNINGS = {"_instantiator": "lightning.pytorch.cli.instantiate_module"}  # by which Lightning makes any class
_ENSEMBLE = "discrete_lightning.oracles.Ensemble"
_ALWAYS = 5  # places
_PLANTED = "open('executed', 'w')\nclass Model: ...\ndef model(): ...\n"


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (_TOUCH,)


def places(path: str, arguments: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(name of the place, config below, what is added to it): everywhere that a config can name a path."""
    spec = {"class_path": path, "init_args": arguments}
    oracle = {"class_path": "discrete_lightning.oracles.BlackBox", "init_args": {"function": path}}
    averaging = {"class_path": "StochasticWeightAveraging", "init_args": {"swa_lrs": 0.1, "avg_fn": path}}
    yield "model", _BASE, {"model": spec}
    yield "in a list", _BASE, {"trainer": {"callbacks": [spec]}}
    yield "function", _DESIGN, {"model": {"init_args": {"oracle": path}}}
    yield "function inside", _DESIGN, {"model": {"init_args": {"oracle": oracle}}}
    yield "callback's function", _BASE, {"trainer": {"callbacks": [averaging]}}
    yield "model's name", _BASE, {"model": path}
    yield "data", _BASE, {"data": spec}
    yield "callback", _BASE, {"trainer": {"callbacks": spec}}
    yield "appended", _BASE, {"trainer": {"callbacks+": [spec]}}
    yield "logger", _BASE, {"trainer": {"logger": spec}}
    yield "strategy", _BASE, {"trainer": {"strategy": spec}}
    yield "plugin", _BASE, {"trainer": {"plugins": [spec]}}
    yield "schedule", _BASE, {"temperature": {"schedule": spec}}
    yield "argument", _BASE, {"model": {"class_path": "VQAutoencoder", "init_args": {"quantizer": spec}}}
    yield "argument of text", _BASE, {"model": {"class_path": "VQAutoencoder", "init_args": {"estimator": path}}}
    yield "function's class", _DESIGN, {"model": {"init_args": {"oracle": spec}}}
    yield (
        "list of functions",
        _DESIGN,
        {"model": {"init_args": {"oracle": {"class_path": _ENSEMBLE, "init_args": {"members": [path]}}}}},
    )
    yield "key", _BASE, {"model": {path: {**arguments, "any": 1}}}  # an empty mapping is nothing to the parser
    yield "tag", _BASE, f"model: !!python/object/apply:{path} []\n"
    yield "environment variable", _BASE, "model: {class_path: '${oc.env:PLANTED}'}\n"
    Path("part.yaml").write_text(yaml.safe_dump(spec))
    yield "file that a config names", _BASE, "model: part.yaml\n"
    Path("part.txt").write_text(yaml.safe_dump({"trainer": {"callbacks": [spec]}}))
    yield "config that a config names", _BASE, "config: part.txt\n"


def accepted(path: str, arguments: dict[str, Any], turn: int) -> list[str]:
    """The places in which the path is not refused, or refused with a traceback or after it has run.

    Args:
        path: of the class or function.
        arguments: for it.
        turn: number of the path: it is tried in the first five places, and in five of the others, each path in other ones.
    """
    every, found = list(places(path, arguments)), []
    rest = [every[_ALWAYS:][(5 * turn + i) % (len(every) - _ALWAYS)] for i in range(5)]
    for place, base, added in [*every[:_ALWAYS], *rest]:
        Path("base.yaml").write_text(base)
        Path("added.yaml").write_text(added if isinstance(added, str) else yaml.safe_dump(added))
        with environment({"PLANTED": path}):
            found += [place] if _runs("added.yaml") else []
    spec = {"class_path": path, "init_args": arguments}
    designer = SequenceDesigner(TFBind8(), FromNothing(8))
    for model, name in ((VQAutoencoder(hidden=4), "quantizer"), (designer, "oracle")):
        found += [f"checkpoint of {type(model).__name__}"] if _loads(model, name, spec) else []
    return found


def _runs(config: str) -> bool:
    """Whether a command with the config does anything but say in one line that it will not."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = discrete_lightning(["check", "-c", "base.yaml", "-c", config])
        except BaseException:
            return True
    return _executed() or code == 0 or not err.getvalue().startswith("error: ")


def _loads(model: Any, name: str, spec: dict[str, Any]) -> bool:
    """Whether a checkpoint of the model, with the path in the place of an argument, loads or runs it."""
    values: dict[str, Any] = {"state_dict": model.state_dict(), "pytorch-lightning_version": "2.6.6"}
    model.on_save_checkpoint(values)
    kind = f"{type(model).__module__}.{type(model).__name__}"
    values["hyper_parameters"] = {**values["hyper_parameters"], name: spec, **_LIGHTNINGS, "_class_path": kind}
    with Path("planted.ckpt").open("wb") as file:
        save_with_digest(values, file)
    try:
        type(model).load_from_checkpoint("planted.ckpt")
    except ValueError:
        return _executed()
    except Exception:
        return True
    return True


def _executed() -> bool:
    there = Path("executed").exists() or "planted" in sys.modules
    if Path("executed").is_dir():
        Path("executed").rmdir()
    Path("executed").unlink(missing_ok=True)
    sys.modules.pop("planted", None)
    return there


def run(paths: dict[str, dict[str, Any]]) -> int:
    """Tries the paths in a temporary folder, prints a line for each, and returns the number of those that are refused."""
    home, refused = Path.cwd(), 0
    with tempfile.TemporaryDirectory() as name, environment({"WANDB_MODE": "disabled"}):
        os.chdir(name)
        sys.path.insert(0, name)
        try:
            for file in ("planted.py", "hubconf.py"):
                Path(file).write_text(_PLANTED)
            torch.save(_Code(), "planted.pt")
            importlib.invalidate_caches()
            for base in (_BASE, _DESIGN):  # what is refused below is refused for what is added
                Path("base.yaml").write_text(base)
                assert discrete_lightning(["check", "-c", "base.yaml"]) == 0
            for turn, (path, arguments) in enumerate(paths.items()):
                found = accepted(path, arguments, turn)
                refused += not found
                print(f"{'refused' if not found else 'ACCEPTED'}  {path:75} {', '.join(found)}", flush=True)
        finally:
            sys.path.remove(name)
            os.chdir(home)
    return refused


def main() -> int:
    start = time.monotonic()
    torch.set_num_threads(1)
    only = sys.argv[1:]
    chosen = {path: arguments for path, arguments in PATHS.items() if not only or path in only}
    refused = run(chosen)
    print(f"{refused} of {len(chosen)} paths refused, each in 10 places of a config and 2 checkpoints")
    print(f"({time.monotonic() - start:.0f} s)")
    return int(refused < len(chosen) or (not only and refused < 30))


if __name__ == "__main__":
    sys.exit(main())
