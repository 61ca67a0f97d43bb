"""The cases of misuse.py: tables of key x wrong value, of wrong files, and of wrong command lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from discrete_lightning.cli import main as discrete_lightning


@dataclass(frozen=True)
class Case:
    """A command that should be refused.

    Args:
        name: in the table.
        arguments: of the command line.
        says: words that its answer needs.
        own_code: whether lines of the user's own code may stand above it.
    """

    name: str
    arguments: tuple[str, ...]
    says: str = ""
    own_code: bool = False


_SIZES = ("0", "-3", "2.5", "many", "null")
_RATES = ("0", "-1", ".nan", ".inf", "fast")
_COUNTS = ("-2", "2.5", "many")

# family -> config and the options that make it small
_FAMILIES = {
    "vq": ("vq/quickstart", "--model.hidden=4", "--model.quantizer.num_codes=16", "--model.quantizer.dim=8"),
    "vae": ("vae/mnist_categorical", "--data=Digits", "--model.hidden=[16]", "--model.bound_samples=2"),
    "nas": ("nas/quickstart", "--model.space.channels=2", "--model.space.nodes=3"),
    "design": ("design/quickstart", "--model.search.steps=2", "--model.search.chains=4"),
}
# family -> key -> wrong values; the answer has to have the last part of the key in it
_VALUES: dict[str, dict[str, tuple[str, ...]]] = {
    "vq": {
        "model.hidden": _SIZES,
        "model.channels": (*_SIZES, "3"),
        "model.quantizer.num_codes": _SIZES,
        "model.quantizer.dim": _SIZES,
        "model.learning_rate": _RATES,
        "data.batch_size": (*_SIZES, "1000000"),
        "data.num_workers": ("-1", "1000000", "many"),
        "data.binarize": ("sometimes",),
        "temperature.count": ("hours",),
    },
    "vae": {
        "model.latents": _SIZES,
        "model.categories": (*_SIZES, "1"),
        "model.hidden": ("[0]", "[16,-4]", "many"),
        "model.pixels": (*_SIZES, "100"),
        "model.learning_rate": _RATES,
        "model.bound_samples": ("0", "-3", "many"),
        "model.temperature": ("0", "-1", ".nan", "hot"),
        "model.optimizer": ("SGD",),
    },
    "nas": {
        "model.space.channels": _SIZES,
        "model.space.nodes": _SIZES,
        "model.space.stages": ("0", "-3", "many"),
        "model.classes": ("0", "-3", "3", "many"),
        "model.image_shape": ("[3,28,28]", "[1,28]", "[0,28,28]"),
        "model.optimizers.learning_rate": _RATES,
        "model.optimizers.weight_decay": ("-1", ".nan", "much"),
        "model.optimizers.architecture_delay": ("1", "-1"),
        "model.retrain_epochs": ("0", "many"),
        "data.batch_size": ("0", "-3", "1000000"),
    },
    "design": {
        "model.designs": ("0", "-3", "many"),
        "model.distance": ("0", "many"),
        "model.start.length": ("0", "-3", "9", "many"),
        "model.search.chains": ("0", "-3", "many"),
        "model.search.steps": ("-1", "many"),
        "model.search.learning_rate": ("0", "-1", "fast"),
        "model.alphabet": ("DNB",),
    },
}
# of every family alike, tried with one
_TRAINER = {
    "max_epochs": _COUNTS,
    "max_steps": _COUNTS,
    "accumulate_grad_batches": ("0", *_COUNTS),
    "check_val_every_n_epoch": ("0", *_COUNTS),
    "val_check_interval": ("0", "-1", "2.5", "often"),
    "log_every_n_steps": _COUNTS,
    "gradient_clip_val": ("-1", ".nan", "much"),
    "limit_train_batches": ("-1", "2.5", "many"),
    "devices": ("0", "1000000", "many"),
    "num_nodes": ("0", "-1", "many"),
    "precision": ("8", "half"),
    "accelerator": ("abacus", "gpu"),
    "strategy": ("dpp",),
    "max_time": ("3",),
    "profiler": ("fast",),
}
_TYPOS = {
    "modle.hidden=3": "'model.hidden'",
    "hidden=3": "'model.hidden'",
    "max_epochs=3": "'trainer.max_epochs'",
    "model.hiden=3": "'hidden'",
    "model.estimator=ReinMx": "ReinMax",
    "model=VQAutoencodr": "VQAutoencoder",
    "model=Digits": "is no LightningModule",
    "model=MyModel": "my_model.MyModel",
    "model=my_model.MyModel": "--trust my_model",
    "data=Digit": "Digits",
    "trainer.max_epoch=3": "'trainer.max_epochs'",
    "trainer.callbacks+=EarlyStoping": "EarlyStopping",
    "temperature=null": "--temperature.schedule null",
    "trainer=null": "group of options",
    "temperature.schedule=Exponentail": "Exponential",
    "seed_everything=-1": "seed_everything",
    "seed_everything=99999999999": "seed_everything",
    "ckpt_path=nothing.ckpt": "nothing.ckpt",
    "ckpt_path=last": "last",
    "run_root=good.yaml": "--run_root",
}
# name of a config -> its text and words of the answer
_CONFIGS = {
    "twice": ("model: VQAutoencoder\ntrainer: {max_epochs: 5}\ntrainer: {limit_train_batches: 1}\n", "lines 2 and 3"),
    "twice_inside": ("trainer:\n  max_epochs: 5\n  max_epochs: 6\n", "lines 2 and 3"),
    "empty": ("", "holds nothing"),
    "list": ("- model\n- data\n", "holds list"),
    "text": ("vq/quickstart\n", "holds str"),
    "tab": ("trainer:\n\tmax_epochs: 5\n", "line 2"),
    "bracket": ("trainer: {max_epochs: 5\nmodel: x\n", "line 2"),
    "typo": ("model:\n  class_path: VQAutoencoder\n  init_args:\n    hiden: 4\n", "line 4"),
    "value": ("trainer:\n  max_epochs: many\n", "line 2"),
    "size": ("model:\n  class_path: VQAutoencoder\n  init_args:\n    hidden: -4\n", "line 4"),
    "group": ("tariner: {max_epochs: 5}\n", "trainer"),
    "null": ("trainer: null\n", "group of options"),
    "interpolation": ("trainer: {max_epochs: '${nothing.here}'}\n", "cannot be resolved"),
    "own_code": ("model: {class_path: torch.hub.load}\n", "not trusted"),
}
_OWN = """\
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule

from discrete_lightning.models import VQAutoencoder


class MyModel(VQAutoencoder):
    def __init__(self, fails: str = "", hidden: int = 4):
        if fails == "refuses":
            raise ValueError(f"fails must be empty, got {fails}")
        if fails == "builds":
            {}["a key"]
        super().__init__(hidden=hidden)
        self.fails = fails

    def training_step(self, batch, batch_idx):
        if self.fails == "trains":
            return 1 / 0
        return super().training_step(batch, batch_idx)


class MyData(LightningDataModule):
    def setup(self, stage):
        Path("not-there.npz").read_bytes()

    def train_dataloader(self):
        return []
"""
_OWN_FAULTS = {
    "--model=my_model.MyModel --model.fails=refuses": "fails must be empty",
    "--model=my_model.MyModel --model.fails=builds": "KeyError",
    "--model=my_model.MyModel --model.fails=trains": "ZeroDivisionError",
    "--model=my_model.MyModel --data=my_model.MyData": "not-there.npz",
    "--model=my_model.NoModel": "NoModel",
    "--model=my_modle.MyModel": "my_modle",
}
_COMMANDS = {
    "chek -c vq/quickstart": "check",
    "check": "-c",
    "check vq/quickstart": "-c vq/quickstart",
    "check -c vq/quikstart": "vq/quickstart",
    "check -c quickstart": "vq/quickstart",
    "check -c no/such/file.yaml": "no/such/file.yaml",
    "check -c own": "config.yaml",
    "check -c vq/quickstart --run_root": "--run_root",
    "check -c vq/quickstart --model.hidden": "hidden",
    "fit -c good.yaml --run_dir own": "own",
    "fit -c good.yaml --run_dir run": "run",
    "cp vq/quickstart good.yaml": "good.yaml",
    "cp vq/quikstart new.yaml": "vq/quickstart",
    "cp vq/quickstart no/such/folder.yaml": "no/such/folder.yaml",
    "cp vq/quickstart": "TARGET.yaml",
    "ls vq": "vq",
    "test -c run --ckpt_path nothing.ckpt": "nothing.ckpt",
    "test -c run --ckpt_path run/checkpoints/empty.ckpt": "empty.ckpt",
    "test -c run --ckpt_path run/checkpoints/text.ckpt": "text.ckpt",
    "test -c run --model.hidden 6": "does not fit",
    "fit -c run --ckpt_path last --model.hidden 6": "does not fit",
    "predict -c own": "config.yaml",
    "decode -c run": "--codes",
    "decode -c run --codes nothing.npz": "nothing.npz",
    "decode -c run --codes good.yaml": "good.yaml",
}
_MONITORS = {
    "EarlyStopping": "val/los",
    "ModelCheckpoint": "val_loss",
}


# what a run refuses as `check` does, or only a run can see
_ONLY_IN_FIT = {
    "trainer.val_check_interval=7": "val_check_interval",
    "trainer.accumulate_grad_batches=0": "accumulate_grad_batches",
    "trainer.check_val_every_n_epoch=0": "check_val_every_n_epoch",
    "model.channels=3": "images of 3 channels",
    "model.learning_rate=-1": "learning_rate",
    "seed_everything=-1": "seed_everything",
}
_SHORT = (
    "--trainer.limit_train_batches=3",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.max_epochs=1",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.callbacks=null",
)


def write_files(folder: Path) -> None:
    """Configs, own code, a folder with a file and a finished run, in `folder`, the working directory."""
    for name, (text, _) in _CONFIGS.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "latin.yaml").write_bytes("# Größe\nmodel: x\n".encode("latin-1"))
    (folder / "my_model.py").write_text(_OWN)
    (folder / "own").mkdir()
    (folder / "own" / "notes.txt").write_text("mine")
    discrete_lightning(["cp", "vq/quickstart", "good.yaml"])
    discrete_lightning(["fit", "-c", *_FAMILIES["vq"], *_SHORT, "--trainer.log_every_n_steps=1", "--run_dir=run"])
    (folder / "run" / "checkpoints" / "empty.ckpt").touch()
    (folder / "run" / "checkpoints" / "text.ckpt").write_text("not weights")


def all_cases() -> Iterator[Case]:
    """Every case."""
    for family, keys in _VALUES.items():
        for key, values in keys.items():
            for value in values:
                arguments = ("check", "-c", *_FAMILIES[family], f"--{key}={value}")
                yield Case(f"{family}: {key}={value}", arguments, _named(key, value))
    vq = ("-c", *_FAMILIES["vq"])
    for name, values in _TRAINER.items():
        for value in values:
            yield Case(f"trainer.{name}={value}", ("check", *vq, f"--trainer.{name}={value}"), name)
    for option, says in _TYPOS.items():
        command = "fit" if option.startswith("run_root") else "check"
        yield Case(option, (command, *vq, f"--{option}"), says)
    for name, (_, says) in _CONFIGS.items():
        yield Case(f"config {name}", ("check", "-c", "vq/quickstart", "-c", f"{name}.yaml"), says)
    yield Case("config latin", ("check", *vq, "-c", "latin.yaml"), "latin.yaml")
    for options, says in _OWN_FAULTS.items():
        arguments = (
            "check",
            "-c",
            "vq/quickstart",
            "--trust",
            "my_model",
            *options.split(),
            "--trainer.callbacks=null",
        )
        yield Case(f"own: {options}", arguments, says, own_code=True)
    for line, says in _COMMANDS.items():
        yield Case(line, tuple(line.split()), says)
    for callback, monitor in _MONITORS.items():
        added = f"--trainer.callbacks+={callback}", f"--trainer.callbacks.monitor={monitor}"
        for command in ("check", "fit"):
            yield Case(f"{command}: {callback} monitors {monitor}", (command, *vq, *_SHORT, *added), monitor)
    for option, says in _ONLY_IN_FIT.items():
        yield Case(f"fit {option}", ("fit", *vq, *_SHORT, f"--{option}"), says)


def _named(key: str, value: str) -> str:
    """What the answer has to name: the argument; for sizes that fit no data, what does not fit."""
    fits = {("model.channels", "3"): "images of 3 channels", ("model.pixels", "100"): "images of 100"}
    return fits.get((key, value), key.rpartition(".")[2])
