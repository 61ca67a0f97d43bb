"""A small made-up MNIST and Fashion-MNIST on disk, and the options that make every config run on it for a few batches."""

import gzip
import struct
from pathlib import Path

import torch
import yaml
from PIL import Image

from discrete_lightning.catalog import config_names, config_root

CONFIGS = config_names()
EMBEDDED = (  # need no folder
    "Digits",
    "SearchSplit",
    "Shakespeare",
    "PlantedExperts",
    "DigitSources",
    "FeatureTable",
    "Verses",
    "Speech",
    "ItemVectors",
)


def write_small_mnist(root: Path) -> Path:
    """90 training and 20 test images under root/mnist and root/fashion-mnist, 40 images under root/images, root/table.csv."""
    generator = torch.Generator().manual_seed(0)
    for folder in (root / "mnist", root / "fashion-mnist"):
        folder.mkdir(parents=True)
        for part, count in (("train", 90), ("t10k", 20)):
            images = torch.rand(count, 28, 28, generator=generator).pow(3).mul(255).byte()
            labels = (torch.arange(count) % 10).byte()
            for name, values in (("images-idx3", images), ("labels-idx1", labels)):
                header = bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">I", size) for size in values.shape)
                content = header + bytes(values.flatten().tolist())
                (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content, compresslevel=1))
    rows = torch.randn(60, 6, generator=generator).tolist()
    lines = [",".join([*(f"{each:.3f}" for each in row), "yes" if row[1] > 0 else "no"]) for row in rows]
    (root / "table.csv").write_text("\n".join(["a,b,c,d,e,f,kind", *lines]))
    report = {"class_path": "VerseReport", "init_args": {"samples": 8, "temperatures": []}}
    (root / "verse_report.yaml").write_text(
        yaml.safe_dump({"trainer": {"val_check_interval": 1.0, "callbacks": [report]}})
    )
    (root / "images").mkdir()
    for i in range(40):
        pixels = torch.randint(256, (18, 20, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(root / "images" / f"{i}.png")
    return root


def few_batches(config: str, data: Path | str, runs: Path | str, batches: int = 3) -> list[str]:
    """Arguments after `fit -c CONFIG`: the config as it stands, on little data, for a few batches."""
    parsed = yaml.safe_load((config_root() / f"{config}.yaml").read_text())
    if "data" not in parsed:  # a design: its data are the steps of its search
        options = [
            f"--run_root={runs}",
            "--trainer.max_epochs=1",
            f"--trainer.limit_train_batches={batches}",
            "--wandb.enabled=false",
            "--trainer.log_every_n_steps=1",
        ]
        small = parsed["model"].get("init_args", {}).get("oracle")
        if isinstance(small, dict) and small["class_path"].endswith("GB1Surrogate"):
            options += [f"--model.oracle.init_args.{name}" for name in ("training=50", "epochs=1", "members=2")]
        return options
    options = [
        f"--run_root={runs}",
        "--trainer.max_epochs=1",
        "--trainer.check_val_every_n_epoch=1",
        f"--trainer.limit_train_batches={batches}",
        "--trainer.limit_val_batches=1",
        "--trainer.limit_test_batches=1",
        "--trainer.log_every_n_steps=1",
        "--wandb.enabled=false",
    ]
    if parsed["data"]["class_path"] == "Environments":
        sizes = {"number": 2, "steps": 4, "updates": batches, "episodes": 2, "test_episodes": 2}
        return [*options, *(f"--data.{name}={size}" for name, size in sizes.items())]
    options.append("--data.batch_size=8")
    if "bound_samples" in parsed["model"].get("init_args", {}):
        options.append("--model.bound_samples=10")
    arguments = parsed["model"].get("init_args", {})
    if "base" in arguments:  # a language model is trained first
        options.append("--model.base_epochs=0.002")
    if "evaluations" in arguments:
        options.append("--model.evaluations=40")
    if "adapt_steps" in arguments:
        options += ["--model.adapt_steps=2", "--model.samples=8", f"-c={data}/verse_report.yaml"]
    if config in ("text/quickstart", "text/shakespeare"):
        options += [
            "--trainer.val_check_interval=1.0",
            "--trainer.callbacks=TextWriter",
            "--trainer.callbacks.tokens=8",
        ]
    if "lesson" in arguments:
        options.append("--model.lesson.init_args.steps=3")
    if "file" in parsed["data"].get("init_args", {}):
        options += [f"--data.file={data}/table.csv", "--data.target=kind"]
    if parsed["data"]["class_path"] == "Speech":
        options += ["--data.count=30", "--data.window=512"]
    if parsed["data"]["class_path"] == "FeatureTable":
        options.append("--data.epoch_rows=64")
    if parsed["data"]["class_path"] == "PlantedExperts":
        options.append("--data.rows=256")
    if parsed["data"]["class_path"] == "ImageFolder":
        options += [f"--data.folder={data}/images", "--data.size=16"]
    elif parsed["data"]["class_path"] not in EMBEDDED:
        options += [f"--data.folder={data}", "--data.validation=20", "--data.verify=false"]
    return options
