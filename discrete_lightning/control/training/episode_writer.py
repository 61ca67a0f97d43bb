"""An episode of the policy as an animation and a strip of frames: when a fit ends, in W&B at evaluations, or by `watch`."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from discrete_lightning.control.drawing import of_one_size, strip, write_gif
from discrete_lightning.control.evaluation import run_episodes
from discrete_lightning.control.training.control_module import ControlModule
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.pictures import never_ends_a_run, save_pillow
from discrete_lightning.training.prediction_writer import PredictionWriter
from discrete_lightning.training.run_files import fresh_path, output_folder
from discrete_lightning.training.wandb_media import log_image, log_video

_SEED, _MOST = 3_000_000, 300  # of the episodes that are shown; frames of an animation


class EpisodeWriter(Callback):
    """Writes an episode of the policy when fitting ends: `episode.gif` and `episode.png`, frames side by side.

    With a W&B logger an episode is a video `episode` at each validation. The policy acts as in an evaluation. Frames are drawn
    with pillow, without a display; environments that this package cannot draw need their own renderer (`gymnasium[box2d]`).

    Args:
        name: of the files.
        frames: of the strip, 1 or more.
        rate: frames a second of the animation, 1 or more.

    Raises:
        ValueError: if a number is out of range; in setup, if the model does not act.
    """

    def __init__(self, name: str = "episode", frames: int = 8, rate: int = 30) -> None:
        check_at_least(1, frames=frames, rate=rate)
        self.name, self.frames, self.rate = name, frames, rate

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        _acting(pl_module, "EpisodeWriter")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        if any(isinstance(each, WandbLogger) for each in trainer.loggers):
            with never_ends_a_run("the video of an episode"), tempfile.TemporaryDirectory() as folder:
                recorded = record_episode(_acting(pl_module, "EpisodeWriter"))
                path = Path(folder) / f"{self.name}.gif"
                write_gif(path, recorded.animation(), self.rate)
                log_video(trainer, "episode", str(path), recorded.caption)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            with never_ends_a_run(f"{self.name}.gif"):
                write_episode(
                    trainer, record_episode(_acting(pl_module, "EpisodeWriter")), self.name, self.frames, self.rate
                )


class WatchedEpisodes(PredictionWriter):
    """Plays episodes: `watch` is `predict` with this callback.

    Args:
        episodes: number of them, 1 or more, each with a start of its own.
        seed: of the starts.
        frames: of each strip, 1 or more.
        rate: frames a second, 1 or more.

    Raises:
        ValueError: if a number is out of range; in setup, if the model does not act.
    """

    def __init__(self, episodes: int = 1, seed: int = 0, frames: int = 8, rate: int = 30) -> None:
        check_at_least(1, episodes=episodes, frames=frames, rate=rate)
        self.episodes, self.seed, self.frames, self.rate = episodes, seed, frames, rate

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        module = _acting(pl_module, "watch")
        vars(pl_module)["predict_step"] = lambda *_: [
            record_episode(module, self.seed + number) for number in range(self.episodes)
        ]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        vars(pl_module).pop("predict_step", None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "predict")  # Lightning calls teardown only after success

    def write(self, trainer: Trainer, pl_module: LightningModule, batches: list[Any], suffix: str) -> None:
        for number, recorded in enumerate(batches[0]):
            print(recorded.caption, flush=True)
            name = "episode" if len(batches[0]) == 1 else f"episode{number + 1}"
            write_episode(trainer, recorded, name, self.frames, self.rate)


class RecordedEpisode:
    """An episode that was watched.

    Attributes:
        frames: pillow images, one for each step.
        total: its return.
        length: its steps.
    """

    def __init__(self, name: str, frames: list[Any], total: float, length: int) -> None:
        self.name, self.frames, self.total, self.length = name, frames, total, length

    @property
    def caption(self) -> str:
        """What is shown."""
        return f"{self.name}: an episode of {self.length} steps, return {self.total:g}"

    def animation(self) -> list[Any]:
        """The frames, of one size, evenly thinned where there are too many for an animation."""
        every = -(-len(self.frames) // _MOST)
        return of_one_size(self.frames[::every])


@torch.no_grad()
def record_episode(module: ControlModule, seed: int = 0) -> RecordedEpisode:
    """Plays one episode with the module as it is in eval(), and draws each step.

    Raises:
        EnvironmentFault: if the environment cannot be drawn.
    """
    data = module.environments()
    environments = data.make(1, 0, 1, module.device)
    frames: list[Any] = []
    training = module.training
    module.eval()
    try:
        with module.trainer.precision_plugin.forward_context():
            found = run_episodes(
                environments,
                module.act(seed=_SEED + seed),
                _SEED + data.seed + seed,
                environments.time_limit,
                lambda: frames.append(environments.frame(0)),
            )
    finally:
        module.train(training)
        environments.close()
    return RecordedEpisode(data.name, frames, float(found.returns[0]), int(found.lengths[0]))


def write_episode(trainer: Trainer, recorded: RecordedEpisode, name: str, frames: int, rate: int) -> None:
    """Writes the animation and the strip to the run's folder, never over a file."""
    path = fresh_path(output_folder(trainer), f"{name}.gif")
    with atomic_write(path) as file:
        write_gif(file, recorded.animation(), rate)
    picture = save_pillow(trainer, strip(recorded.frames, frames), f"{name}.png", recorded.caption)
    log_image(trainer, name, str(picture), recorded.caption)


def _acting(module: LightningModule, what: str) -> ControlModule:
    if not isinstance(module, ControlModule):
        raise ValueError(
            f"{what} plays episodes of a model that acts, such as PolicyGradient, got {type(module).__name__}"
        )
    return module
