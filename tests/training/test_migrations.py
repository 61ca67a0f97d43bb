"""Checkpoints of earlier versions are brought to the present format, those of later ones and of other models refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from discrete_lightning import __version__
from discrete_lightning.models import CategoricalVAE, RoutedLanguageModel
from discrete_lightning.training import migrations
from discrete_lightning.training.damage import CheckpointError
from discrete_lightning.training.migrations import KEY, MIGRATIONS, check_model, migrate
from tests.cli.toy import Toy, Warm
from tests.tables.makers import MODELS


def _trainer() -> Trainer:
    return Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)


def _saved(model: Any, path: Path) -> Path:
    trainer = _trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path, weights_only=True)
    return path


def _changed(path: Path, **entries: Any) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True) | entries
    torch.save(content, path)
    return content


def _vae() -> CategoricalVAE:
    return CategoricalVAE(4, 3, hidden=[8])


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_every_model_says_who_wrote_and_reads_it(make: Any) -> None:
    """Also those that override the hooks: they call those of the base, first."""
    model, checkpoint = make(), dict[str, Any](state_dict={})
    model.on_save_checkpoint(checkpoint)
    name = f"{type(model).__module__}.{type(model).__name__}"
    assert checkpoint[KEY]["classes"][0] == name
    assert (checkpoint[KEY]["version"], checkpoint[KEY]["format"]) == (__version__, len(MIGRATIONS))
    with pytest.raises(CheckpointError, match="written by discrete_lightning 99"):
        model.on_load_checkpoint({"state_dict": {}, KEY: {"version": "99.0", "format": 99, "classes": [name]}})


def test_a_migration_is_run_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _saved(_vae(), tmp_path / "a.ckpt")
    before = _changed(path)
    old = {"lat": before["hyper_parameters"]["latents"], **before["hyper_parameters"]}
    del old["latents"]
    renamed = {f"old_{name}": value for name, value in before["state_dict"].items()}
    number = len(MIGRATIONS)
    _changed(path, hyper_parameters=old, state_dict=renamed, **{KEY: before[KEY] | {"format": number}})
    steps: list[str] = []

    def first(checkpoint: dict[str, Any], classes: frozenset[str]) -> None:
        steps.append("first")
        checkpoint["hyper_parameters"]["latents"] = checkpoint["hyper_parameters"].pop("lat")

    def second(checkpoint: dict[str, Any], classes: frozenset[str]) -> None:
        steps.append("second")
        assert "CategoricalVAE" in classes
        checkpoint["state_dict"] = {key.removeprefix("old_"): each for key, each in checkpoint["state_dict"].items()}

    with pytest.raises(RuntimeError, match="Missing key"):
        CategoricalVAE.load_from_checkpoint(path, latents=4)
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, first, second))
    model = CategoricalVAE.load_from_checkpoint(path)
    assert steps[:2] == ["first", "second"]  # once for the arguments, once for the weights
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before["state_dict"][name])
    trainer = _trainer()
    trainer.strategy.connect(model)
    trainer._checkpoint_connector.resume_start(str(path))
    trainer.strategy.connect(fresh := _vae())
    trainer._checkpoint_connector.restore_model()
    assert torch.equal(next(fresh.parameters()), next(model.parameters()))


def _language_model() -> RoutedLanguageModel:
    model = MODELS["RoutedLanguageModel"]()
    assert isinstance(model, RoutedLanguageModel)
    return model


def test_blocks_of_format_0(tmp_path: Path) -> None:
    """A checkpoint of the time before CausalAttention: `qkv` and `out` lay in the block."""
    model = _language_model()
    path = _saved(model, tmp_path / "a.ckpt")
    content = torch.load(path, weights_only=True)
    weights = {key.replace(".attention.", "."): value for key, value in content["state_dict"].items()}
    assert list(weights) != list(content["state_dict"])
    del content[KEY]
    torch.save(content | {"state_dict": weights}, path)
    loaded = RoutedLanguageModel.load_from_checkpoint(path)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)


def test_other_models_are_left_alone() -> None:
    weights = {"a.qkv.weight": 1, "a.feed_forward.weight": 2}
    checkpoint = {"state_dict": dict(weights)}
    migrate(checkpoint, Toy, "the checkpoint a")
    assert checkpoint["state_dict"] == weights


@pytest.mark.parametrize("written", [5, "1", {"format": "one"}, {"format": -1}, {"format": True}, {}])
def test_an_entry_that_makes_no_sense(written: Any) -> None:
    with pytest.raises(CheckpointError, match=r"a\.ckpt does not say which format it has"):
        migrate({"state_dict": {}, KEY: written}, Toy, "a.ckpt")


def test_classes_fit_by_name_with_bases_and_subclasses() -> None:
    for theirs, ours, fits in [
        (["a.Toy"], Toy, True),  # moved to another file
        (["a.Mine", "tests.cli.toy.Toy"], Toy, True),
        (["tests.cli.toy.Toy"], Warm, True),
        (["a.Other", "a.Base"], Toy, False),
        ([], Toy, True),
    ]:
        checkpoint = {KEY: {"classes": theirs}}
        if fits:
            check_model(checkpoint, ours, "a.ckpt")
        else:
            with pytest.raises(CheckpointError, match=r"a\.ckpt is of another model: Other wrote it, and this is Toy"):
                check_model(checkpoint, ours, "a.ckpt")
    check_model({"hyper_parameters": {"_class_path": "discrete_lightning.models.VQAutoencoder"}}, *_autoencoder())
    with pytest.raises(CheckpointError, match="VQAutoencoder wrote it"):
        check_model({"hyper_parameters": {"_class_path": "discrete_lightning.models.VQAutoencoder"}}, Toy, "a.ckpt")


def _autoencoder() -> tuple[Any, str]:
    return type(MODELS["VQAutoencoder"]()), "a.ckpt"


def test_load_from_checkpoint_says_what_is_wrong(tmp_path: Path) -> None:
    path = _saved(_vae(), tmp_path / "a.ckpt")
    content = torch.load(path, weights_only=True)
    with pytest.raises(CheckpointError, match=r"a\.ckpt is of another model: CategoricalVAE wrote it"):
        RoutedLanguageModel.load_from_checkpoint(path)
    bad = {key: torch.full_like(value, float("nan")) for key, value in content["state_dict"].items()}
    for entries, message in [
        ({KEY: {"version": "9.1", "format": 9, "classes": []}}, "a.ckpt was written by discrete_lightning 9.1"),
        ({"state_dict": bad}, "values that are not finite in"),
    ]:
        torch.save(content | entries, path)
        with pytest.raises(CheckpointError, match=message):
            CategoricalVAE.load_from_checkpoint(path)
    whole = path.read_bytes()
    for damage, message in [
        (b"", "is empty"),
        (whole[:-50], "is cut short"),
        (whole[:2000] + b"~" + whole[2001:], "is damaged"),
        (b"a text", "torch.save did not write it"),
    ]:
        path.write_bytes(damage)
        with pytest.raises(CheckpointError, match=f"a.ckpt.*{message}|{message}"):
            CategoricalVAE.load_from_checkpoint(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match="is a folder"):
        CategoricalVAE.load_from_checkpoint(path)


def test_designers_of_format_1_had_no_diverse_batch(tmp_path: Path) -> None:
    model = MODELS["SequenceDesigner"]()
    path = _saved(model, tmp_path / "a.ckpt")
    before = _changed(path)
    kept = {name: value for name, value in before["hyper_parameters"].items() if name != "diverse"}
    assert len(kept) < len(before["hyper_parameters"])
    weights = {key: value for key, value in before["state_dict"].items() if ".archive." not in key}
    assert len(weights) < len(before["state_dict"])
    _changed(path, hyper_parameters=kept, state_dict=weights, **{KEY: before[KEY] | {"format": 1}})
    loaded = type(model).load_from_checkpoint(path)
    assert loaded.diverse is False
    assert loaded.search.plan == model.search.plan
