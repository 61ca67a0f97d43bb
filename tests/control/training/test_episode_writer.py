"""Episodes of a policy as pictures, curves of a fit, and the verb `watch`."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from PIL import Image

from discrete_lightning.cli import main
from discrete_lightning.control import A2C
from discrete_lightning.control.training.episode_writer import EpisodeWriter, record_episode
from discrete_lightning.control.training.return_curves import ReturnCurves
from discrete_lightning.data import Environments
from discrete_lightning.models import PolicyGradient
from tests.tiny_images import TinyImages, quiet_trainer

SMALL = [
    "--trainer.log_every_n_steps=1",
    "--data.number=2",
    "--data.steps=4",
    "--data.updates=2",
    "--data.episodes=2",
    "--data.test_episodes=2",
]


def small(environment: str = "CartPole") -> Environments:
    return Environments(environment, number=2, steps=8, updates=3, episodes=2, test_episodes=2)


def run_folder(root: Path, name: str = "config.yaml") -> Path:
    return max(root.rglob(name), key=lambda path: path.stat().st_mtime).parent


class Acts(PolicyGradient):
    """Right at once, whatever it sees: the pole falls to the left after some steps."""

    def act(self, *_: object, **__: object) -> object:  # type: ignore[override]
        return lambda now: torch.ones(len(now.observations), 1, dtype=torch.int64)


@pytest.mark.parametrize("environment", ["CartPole", "CartPole-v1"])
def test_an_episode_has_a_frame_a_step_and_its_return(environment: str) -> None:
    seed_everything(0, verbose=False)
    model = Acts(A2C())
    quiet_trainer(max_epochs=1, limit_val_batches=0).fit(model, small(environment))
    found = record_episode(model)
    assert found.total == found.length == len(found.frames)
    assert 5 < found.length < 15
    assert model.training
    assert "return" in found.caption


def test_a_fit_writes_animation_strip_and_curves(tmp_path: Path) -> None:
    seed_everything(0, verbose=False)
    trainer = quiet_trainer(
        default_root_dir=tmp_path, max_epochs=2, callbacks=[EpisodeWriter(frames=3), ReturnCurves()], fast_dev_run=False
    )
    trainer.fit(PolicyGradient(A2C()), small())
    with Image.open(tmp_path / "episode.gif") as animation:
        assert animation.is_animated
    with Image.open(tmp_path / "episode.png") as strip, Image.open(tmp_path / "curves.png") as curves:
        assert strip.width > 3 * strip.height > 0
        assert "environment steps" in curves.info["Description"]


def test_curves_are_against_environment_steps_and_go_on_after_a_resume(tmp_path: Path) -> None:
    curves = ReturnCurves()
    trainer = quiet_trainer(default_root_dir=tmp_path, max_epochs=2, callbacks=[curves])
    trainer.fit(PolicyGradient(A2C()), small())
    points = curves.state_dict()["curves"]
    assert [steps for steps, _ in points["train/entropy"]] == [16.0 * i for i in range(1, 7)]
    assert [steps for steps, _ in points["val/return"]] == [48.0, 96.0]
    again = ReturnCurves()
    again.load_state_dict(curves.state_dict())
    assert again.state_dict() == curves.state_dict()


@pytest.mark.parametrize("callback", [EpisodeWriter(), ReturnCurves()])
def test_a_model_that_does_not_act_is_refused(callback: EpisodeWriter | ReturnCurves) -> None:
    with pytest.raises(ValueError, match="LightningModule"):
        callback.setup(Trainer(logger=False, enable_checkpointing=False), LightningModule(), "fit")


def test_a_model_that_acts_needs_environments() -> None:
    with pytest.raises(ValueError, match=r"give an Environments data module.*TinyImages"):
        quiet_trainer(max_epochs=1).fit(PolicyGradient(A2C()), TinyImages(batch_size=8))


def test_watch_plays_episodes_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [f"--run_root={tmp_path}", "--wandb.enabled=false", "--trainer.max_epochs=1", *SMALL]
    assert main(["fit", "-c", "control/cartpole_path", *options]) == 0
    run = run_folder(tmp_path)
    capsys.readouterr()
    assert main(["watch", "-c", str(run), f"--run_root={tmp_path}", "--episodes", "2", "--start", "3"]) == 0
    assert capsys.readouterr().out.count("CartPole: an episode of") == 2
    watched = run_folder(tmp_path, "episode2.gif")
    assert {"episode1.gif", "episode1.png", "episode2.gif", "episode2.png"} <= {each.name for each in watched.iterdir()}
    assert watched != run


def test_predict_gives_the_returns_of_a_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [f"--run_root={tmp_path}", "--wandb.enabled=false", "--trainer.max_epochs=1", *SMALL]
    assert main(["fit", "-c", "control/cartpole_path", *options]) == 0
    printed = capsys.readouterr().out.replace("│", " ")
    tested = float(next(each for each in printed.splitlines() if "test/return" in each).split()[-1])
    assert main(["predict", "-c", str(run_folder(tmp_path)), f"--run_root={tmp_path}"]) == 0
    (found,) = torch.load(next(tmp_path.rglob("predictions.pt")), weights_only=True)
    assert found["returns"].tolist() == found["lengths"].tolist()
    assert float(found["returns"].mean()) == pytest.approx(tested, rel=1e-5)


def test_deep_sea_tells_the_probability_of_the_treasure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [f"--run_root={tmp_path}", "--wandb.enabled=false", "--trainer.max_epochs=1", *SMALL]
    assert (
        main(["fit", "-c", "control/deep_sea", *options, "--model.learning_rate=1.0e-9", "--trainer.callbacks=[]"]) == 0
    )
    line = next(each for each in capsys.readouterr().out.splitlines() if "test/treasure" in each)
    value = float(line.replace("│", " ").split()[-1])
    assert value == pytest.approx(2**-10, rel=0.05)  # the policy is still uniform
