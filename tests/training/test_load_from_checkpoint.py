"""`Model.load_from_checkpoint`: the model with its arguments and weights, or one line that says what to give."""

import io
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from discrete_lightning.design import Edit, FromNothing, Minimize
from discrete_lightning.design.constraints import GCContent
from discrete_lightning.design.oracles import BlackBox, MotifScan, OneOutput, SequenceCNN, TFBind8, WeightedSum
from discrete_lightning.design.search.gradient import GradientSearch
from discrete_lightning.design.search.surrogate import SurrogateSearch
from discrete_lightning.estimators import GumbelRao, GumbelSoftmax, LeaveOneOut, ReinMax
from discrete_lightning.layers.recorded import made, recorded
from discrete_lightning.models import (
    GDAS,
    ArchitectureSearch,
    ArchitectureTraining,
    CategoricalVAE,
    CostTarget,
    Sampled,
    SequenceDesigner,
    VQAutoencoder,
)
from discrete_lightning.nn import GumbelQuantizer, Quantized, Temperature
from discrete_lightning.nn import ProductQuantizer as Product
from discrete_lightning.schedules import Linear, Staircase
from tests.tables.makers import ESTIMATORS, MODELS
from tests.tiny_images import FAST, SPACE
from tests.vq.quantizers.makers import ALL


def saved(model: Any, folder: Path) -> Path:
    """A checkpoint of the model as it is, which holds no objects."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.strategy.connect(model)
    path = folder / "model.ckpt"
    trainer.save_checkpoint(path, weights_only=True)
    assert "hyper_parameters" in torch.load(path, weights_only=True)
    return path


def assert_equal(found: Any, expected: Any) -> None:
    """Modules and all settings that their text shows, arguments, and weights."""
    assert type(found) is type(expected)
    assert str(found) == str(expected)
    assert found.hparams == expected.hparams
    ours, theirs = found.state_dict(), expected.state_dict()
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(ours[key], value, rtol=0, atol=0, equal_nan=True)


def _autoencoder(make: Any) -> VQAutoencoder:
    return VQAutoencoder(make(), hidden=4)


def _vae(make: Any) -> CategoricalVAE:
    return CategoricalVAE(4, 3, make(), hidden=[8])


def two_outputs() -> WeightedSum:
    network = SequenceCNN(channels=4, layers=1)
    return WeightedSum([OneOutput(network, 0), OneOutput(network, 0)], [1.0, -0.5], ["a", "b"])


VARIANTS: dict[str, Any] = {
    **MODELS,
    **{f"quantizer {name}": partial(_autoencoder, make) for name, make in ALL.items()},
    **{f"estimator {name}": partial(_vae, make) for name, make in ESTIMATORS.items() if make().categorical},
    "learned temperatures": lambda: VQAutoencoder(
        Product(GumbelQuantizer(8, 2, GumbelRao(3), Temperature(0.7, 0.1, learnable=True)), 2), hidden=4
    ),
    "estimator of the model": lambda: VQAutoencoder(GumbelQuantizer(8, 4), GumbelSoftmax(), 0.5, 0.1, hidden=4),
    "method": lambda: ArchitectureSearch(Sampled(ReinMax()), SPACE, CostTarget("flops", 9e4), FAST, classes=7),
    "a schedule of a schedule": lambda: ArchitectureSearch(GDAS(Staircase(Linear(2.0, 1.0, 1), 0.1)), SPACE),
    "random architectures": lambda: ArchitectureTraining(SPACE, ["skip"] * SPACE.choices, 2, seed=3),
    "sum of oracles": lambda: SequenceDesigner(
        two_outputs(), Edit("ACGTACGTACGT", editable=[(2, 9)]), goal=Minimize(), constraints=[GCContent(0.2, 0.9)]
    ),
    "motif": lambda: SequenceDesigner(
        MotifScan("GATA2"), FromNothing(20), search=GradientSearch(3, 4, LeaveOneOut(2)), judge=MotifScan("TBP")
    ),
    "surrogate": lambda: SequenceDesigner(TFBind8(), FromNothing(8), search=SurrogateSearch(calls=50)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_model_comes_back(name: str, tmp_path: Path) -> None:
    model = VARIANTS[name]()
    assert_equal(type(model).load_from_checkpoint(saved(model, tmp_path)), model)


def test_objects_that_were_one_are_one_again() -> None:
    first, second = made(recorded(two_outputs())).oracles
    assert first.oracle is second.oracle


def test_arguments_can_be_replaced(tmp_path: Path) -> None:
    path = saved(VQAutoencoder(GumbelQuantizer(8, 4, ReinMax()), hidden=4), tmp_path)
    model = VQAutoencoder.load_from_checkpoint(path, learning_rate=0.5)
    assert (model.learning_rate, model.quantizer.sample.estimator) == (0.5, ReinMax())
    other = VQAutoencoder.load_from_checkpoint(path, estimator=GumbelSoftmax())
    assert other.quantizer.sample.estimator == GumbelSoftmax()
    with pytest.raises(RuntimeError, match="size mismatch"):
        VQAutoencoder.load_from_checkpoint(path, hidden=8)
    file = io.BytesIO(path.read_bytes())
    assert VQAutoencoder.load_from_checkpoint(file).hparams == VQAutoencoder.load_from_checkpoint(path).hparams


def test_an_estimator_that_was_set_later_is_restored(tmp_path: Path) -> None:
    model = VQAutoencoder(GumbelQuantizer(8, 4), hidden=4)
    model.quantizer.sample.set_estimator(GumbelSoftmax())
    assert VQAutoencoder.load_from_checkpoint(saved(model, tmp_path)).quantizer.sample.estimator == GumbelSoftmax()


class More(VQAutoencoder):
    """As users write subclasses: an argument of its own, and the others handed on."""

    def __init__(self, *args: Any, note: str = "none", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.note = note
        self.save_hyperparameters(ignore=["quantizer"])  # as Lightning advises for modules


def test_a_subclass_with_an_argument_of_its_own(tmp_path: Path) -> None:
    model = More(GumbelQuantizer(8, 4), ReinMax(), hidden=4, note="mine")
    found = More.load_from_checkpoint(saved(model, tmp_path))
    assert found.note == "mine"
    assert str(found) == str(model)
    assert More.load_from_checkpoint(tmp_path / "model.ckpt", note="other").note == "other"


class Own(GumbelQuantizer):
    """A quantiser of a user's own."""

    def quantize(self, vectors: Tensor) -> Quantized:
        return super().quantize(vectors)


@pytest.mark.parametrize(
    ("model", "named", "given"),
    [
        (
            lambda: VQAutoencoder(Own(8, 4), hidden=4),
            "quantizer was a tests.training.test_load_from_checkpoint.Own",
            {},
        ),
        (lambda: VQAutoencoder(Product(Own(8, 2), 2), hidden=4), "quantizer was a tests.training", {}),
        (
            lambda: SequenceDesigner(BlackBox(lambda sequences: [0.0] * len(sequences)), FromNothing(8)),
            "oracle was a tests.training.test_load_from_checkpoint.<lambda>",
            {},
        ),
        (lambda: SequenceDesigner(TFBind8(), FromNothing(8), judge=nn.Flatten()), "judge was a torch.nn", {}),
        (lambda: CategoricalVAE(hidden=[4]), "CategoricalVAE has no argument hiden; it has bound", {"hiden": [4]}),
    ],
)
def test_what_cannot_be_made_again_is_named(model: Any, named: str, given: Any, tmp_path: Path) -> None:
    made_here = model()
    path = saved(made_here, tmp_path)
    with pytest.raises(ValueError, match=re.escape(named)) as error:
        type(made_here).load_from_checkpoint(path, **given)
    assert "\n" not in str(error.value)


def test_a_module_of_a_users_own_is_given(tmp_path: Path) -> None:
    path = saved(VQAutoencoder(Own(8, 4), hidden=4), tmp_path)
    assert isinstance(VQAutoencoder.load_from_checkpoint(path, quantizer=Own(8, 4)).quantizer, Own)


def test_a_checkpoint_without_arguments(tmp_path: Path) -> None:
    path = saved(VQAutoencoder(GumbelQuantizer(8, 4, GumbelSoftmax()), hidden=4), tmp_path)
    content = torch.load(path, weights_only=True)
    del content["hyper_parameters"]  # as an earlier version wrote it
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"does not say what channels, .*quantizer was"):
        VQAutoencoder.load_from_checkpoint(path)


@pytest.mark.parametrize(
    "path",
    ["os.system", "torch.hub.load", "discrete_lightning.cli.__main__.main", "discrete_lightning.cli.app.App"],
)
def test_a_checkpoint_runs_no_code(path: str, tmp_path: Path) -> None:
    file = saved(VQAutoencoder(GumbelQuantizer(8, 4), hidden=4), tmp_path)
    content = torch.load(file, weights_only=True)
    content["hyper_parameters"]["quantizer"] = {"class_path": path, "init_args": {"command": "false"}}
    torch.save(content, file)
    with pytest.raises(ValueError, match=f"quantizer was a {path}, which cannot be made"):
        VQAutoencoder.load_from_checkpoint(file)


def test_a_run_on_the_command_line_leaves_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from discrete_lightning.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    options = ["--model.hidden=4", "--model.quantizer=GumbelQuantizer", "--model.quantizer.num_codes=8"]
    options += ["--model.quantizer.dim=4", "--model.quantizer.estimator=ReinMax", "--model.estimator=null"]
    limits = ["--trainer.max_steps=1", "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1"]
    assert main(["fit", "-c", "vq/quickstart", *options, *limits]) == 0
    (path,) = tmp_path.rglob("last.ckpt")
    model = VQAutoencoder.load_from_checkpoint(path)
    assert (model.quantizer.num_codes, model.quantizer.sample.estimator) == (8, ReinMax())
