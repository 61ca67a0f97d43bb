"""What holds for every model: stages in any order, precisions, copies, a second fit, an exception in the middle."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from torch import Tensor

from discrete_lightning.data import Environments, FeatureTable, Shakespeare, Speech
from discrete_lightning.nn import GumbelQuantizer
from tests.tables.faults import cases
from tests.tables.holder import hooks
from tests.tables.makers import ESTIMATORS, MODELS, protected
from tests.tiny_images import TinyImages, quiet_trainer, tiny_split
from tests.tiny_items import TinyItems
from tests.tiny_lines import TinyLines
from tests.tiny_tokens import TinyRows, TinyText

pytestmark = [
    pytest.mark.filterwarnings("ignore:the choices are still undecided"),
    pytest.mark.filterwarnings("ignore:The `training_step` returned"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode"),  # frozen parts
]
_DATA: dict[str, Callable[[], Any]] = {
    "ArchitectureSearch": tiny_split,
    "AudioCodec": lambda: Speech(count=12, window=512, batch_size=8),
    "FeatureSelection": lambda: FeatureTable("iris", batch_size=8, epoch_rows=100),
    "ItemTokenizer": TinyItems,
    "JudgedGenerator": lambda: Shakespeare(context=8, batch_size=8),
    "LanguageModel": TinyText,
    "PatternLearning": TinyText,
    "LearnedTemperature": lambda: None,
    "PolicyGradient": lambda: Environments(
        "CartPole", number=2, steps=4, updates=2, episodes=2, test_episodes=2, time_limit=4
    ),
    "RewardedGenerator": TinyLines,
    "RoutedLanguageModel": TinyText,
    "RoutedNetwork": TinyRows,
    "SequenceDesigner": lambda: None,
}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # models write there what they start from


def built(name: str) -> LightningModule:
    seed_everything(0, verbose=False)
    return MODELS[name]()


def data(name: str) -> LightningDataModule | None:
    return _DATA.get(name, lambda: TinyImages(batch_size=8))()


def run(stage: str, name: str, model: LightningModule, **arguments: Any) -> Trainer:
    """One short stage with a new Trainer and one seed."""
    limits = {"limit_train_batches": 2, "limit_val_batches": 1, "limit_test_batches": 1, "limit_predict_batches": 1}
    trainer = quiet_trainer(**(limits | arguments))
    seed_everything(1, verbose=False)
    options: dict[str, Any] = {"verbose": False} if stage in ("validate", "test") else {}
    getattr(trainer, stage)(model, data(name), **options)
    return trainer


def tensors(model: LightningModule) -> dict[str, Tensor]:
    found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {key: value.detach().clone() for key, value in found.items()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def has(model: LightningModule, stage: str) -> bool:
    return getattr(type(model), stage) is not getattr(LightningModule, stage)


@pytest.mark.parametrize("name", cases("stages", MODELS))
def test_stages_come_in_any_order(name: str) -> None:
    model, expected = built(name), built(name)
    if has(model, "validation_step"):
        run("validate", name, model)
    run("fit", name, model)
    if has(model, "test_step"):
        run("test", name, model)
    if has(model, "validation_step"):
        run("validate", name, model)
    run("fit", name, expected)
    assert_same({k: v for k, v in tensors(model).items() if "metrics" not in k}, tensors(expected))
    run("fit", name, model)  # a second fit of the same object


@pytest.mark.parametrize("name", cases("model copy", MODELS))
def test_copies_train_as_the_original(name: str) -> None:
    model = built(name)
    run("fit", name, model)
    model.trainer = None  # as a user would who saves the module alone
    expected = tensors(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same(tensors(twin), expected)
        run("fit", name, twin)
        assert_same(tensors(model), expected)


@pytest.mark.parametrize("name", cases("model precision", MODELS))
@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_a_precision_keeps_float32_state(name: str, precision: str) -> None:
    model = built(name)
    before = protected(model)
    run("fit", name, model, precision=precision)
    assert protected(model) == before
    assert all(each.isfinite().all() for each in model.parameters())


class BadBatchError(Exception):
    """Raised in the middle of training."""


@pytest.mark.parametrize("name", cases("model exception", MODELS))
def test_a_fit_after_an_exception(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the failed fit is left on the module: the next runs through."""
    model, calls = built(name), 0
    before, step = hooks(model), type(model).training_step

    def fails(self: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise BadBatchError
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "training_step", fails)
        with pytest.raises(BadBatchError):
            run("fit", name, model)
    assert hooks(model) == before
    run("fit", name, model)
    assert all(each.isfinite().all() for each in model.parameters())


@pytest.mark.parametrize("name", cases("model meta", MODELS))
def test_built_on_the_meta_device(name: str) -> None:
    model = built(name)
    run("fit", name, model)
    with torch.device("meta"):
        twin = MODELS[name]()
    empty = [key for key, each in [*twin.named_parameters(), *twin.named_buffers()] if each.is_meta]
    assert empty
    twin = twin.to_empty(device="cpu")
    made = dict([*twin.named_parameters(), *twin.named_buffers()])
    with torch.no_grad():
        for key in empty:
            made[key].fill_(3)  # memory that was not written holds arbitrary numbers
    twin.load_state_dict(model.state_dict())
    found, expected = tensors(twin), tensors(model)
    assert_same(found, {key: value for key, value in expected.items() if key in found})


# Every estimator in every model that takes one


STAGED: dict[str, Callable[[Any], LightningModule]] = {}
for _name, _make in ESTIMATORS.items():
    for _model, _cls in (("CategoricalVAE", "categories"), ("BernoulliVAE", "binary")):
        if _cls == "binary" or _make().categorical:
            STAGED[f"{_model}_{_name}"] = lambda e, m=_model: _vae(m, e)  # type: ignore[misc]
    if _make().pathwise:
        STAGED[f"VQAutoencoder_{_name}"] = lambda e: _autoencoder(e)


def _vae(model: str, estimator: Any) -> LightningModule:
    from discrete_lightning import models

    arguments = {"latents": 3, "hidden": [8], "bound_samples": 2, "estimator": estimator}
    return getattr(models, model)(**arguments)


def _autoencoder(estimator: Any) -> LightningModule:
    from discrete_lightning.models import VQAutoencoder

    return VQAutoencoder(GumbelQuantizer(8, 4), estimator, hidden=4)


@pytest.mark.parametrize("case", cases("estimator stages", STAGED))
def test_every_estimator_in_every_stage(case: str) -> None:
    name, _, estimator = case.partition("_")
    seed_everything(0, verbose=False)
    model = STAGED[case](ESTIMATORS[estimator]())
    for stage in ("fit", "test", "predict"):  # fit validates
        run(stage, name, model, limit_train_batches=1)
