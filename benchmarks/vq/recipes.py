"""The sampled recipes beside the nearest-code quantisers, at the same steps: error, live codes and perplexity on test data.

python -m benchmarks.vq.recipes [--only vq/quickstart] [--seeds 1 2 3] [--batches 100]

Each config is run as `discrete-lightning fit` runs it, once as it is, once with `VectorQuantizer` (EMA) and once with
vector-quantize-pytorch==1.32 (k-means start, dead-code threshold 2; left out where it is not installed) in the place of its
codebooks. `vq/quickstart` runs whole, those on MNIST and Fashion-MNIST for one epoch.
"""

import argparse
import csv
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor

from discrete_lightning.catalog import config_root
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Codebook

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = {"vq/quickstart": None, "vq/mnist_gumbel": 1, "vq/fashion_gumbel": 1, "vq/fashion_wav2vec2": 1}
CODEBOOKS = {
    "as it is": None,
    "VectorQuantizer (EMA)": "VectorQuantizer",
    "vector-quantize-pytorch": "benchmarks.vq.recipes.Theirs",
}


class Theirs(Codebook):
    """VectorQuantize of vector-quantize-pytorch as a Codebook."""

    def __init__(self, num_codes: int, dim: int) -> None:
        from vector_quantize_pytorch import VectorQuantize

        super().__init__(num_codes, dim)
        self.layer = VectorQuantize(dim=dim, codebook_size=num_codes, kmeans_init=True, threshold_ema_dead_code=2)

    def quantize(self, vectors: Tensor) -> Quantized:
        quantized, indices, loss = self.layer(vectors.reshape(1, -1, self.dim))
        return Quantized(quantized.view(vectors.shape), indices.view(vectors.shape[:-1]), loss.sum())

    def codes_of(self, indices: Tensor) -> Tensor:
        codes: Tensor = self.layer.get_codes_from_indices(indices)
        return codes


def config(name: str, codebook: str | None, seed: int, batches: int | None) -> Any:
    """A shipped config, with another codebook in it; `batches` is of one epoch, None is all that the recipe has."""
    loaded: Any = OmegaConf.to_container(OmegaConf.load(config_root() / f"{name}.yaml"))
    loaded["seed_everything"] = seed
    if (epochs := EPOCHS[name]) is not None:
        loaded["trainer"]["max_epochs"] = epochs
    if batches is not None:
        loaded["trainer"] |= {"limit_train_batches": batches, "max_epochs": 1}
    loaded["trainer"]["enable_progress_bar"] = False
    if codebook is not None:
        model = loaded["model"]["init_args"]
        place = model["quantizer"]
        while "quantizer" in place["init_args"]:
            place = place["init_args"]["quantizer"]
        place["class_path"] = codebook
        place["init_args"] = {key: place["init_args"][key] for key in ("num_codes", "dim")}
        for key in ("estimator", "marginal_entropy", "choice_entropy", "diversity"):
            model.pop(key, None)
        loaded.pop("temperature", None)
        callbacks = loaded["trainer"]["callbacks"]
        loaded["trainer"]["callbacks"] = [each for each in callbacks if each["class_path"] != "WeightAnnealing"]
    return loaded


def run(name: str, codebook: str | None, seed: int, batches: int | None) -> dict[str, float]:
    """The test values of one run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        OmegaConf.save(OmegaConf.create(config(name, codebook, seed, batches)), path)
        program = Path(sys.executable).with_name("discrete-lightning")
        command = [str(program), "fit", "-c", str(path), "--run_dir", f"{folder}/run", "--trust", "benchmarks"]
        places = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, "WANDB_MODE": "disabled", "PYTHONPATH": places}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        (metrics,) = Path(folder).glob("**/metrics.csv")
        with metrics.open() as file:
            rows = list(csv.DictReader(file))
    return {key: float(row[key]) for row in rows for key in row if key.startswith("test/") and row[key]}


def summary(runs: list[dict[str, float]]) -> str:
    errors = [each["test/reconstruction"] for each in runs]
    parts = [f"error {statistics.mean(errors):.5f} ({', '.join(f'{each:.5f}' for each in errors)})"]
    for label in ("live_codes", "perplexity"):
        names = [key for key in runs[0] if key.startswith(f"test/{label}")]
        values = [each[key] for each in runs for key in names]
        parts.append(f"{label.replace('_', ' ')} {min(values):.0f} to {max(values):.0f}")
    return "   ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batches", type=int, help="end after this many batches")
    arguments = parser.parse_args()
    has_peer = importlib.util.find_spec("vector_quantize_pytorch") is not None
    for name in arguments.only:
        print(f"\n{name}, seeds {arguments.seeds}", flush=True)
        for label, codebook in CODEBOOKS.items():
            if has_peer or not (codebook or "").endswith("Theirs"):
                runs = [run(name, codebook, seed, arguments.batches) for seed in arguments.seeds]
                print(f"{label:<24} {summary(runs)}", flush=True)


if __name__ == "__main__":
    main()
