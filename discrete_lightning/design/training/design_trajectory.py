"""How a search went: best and mean score over oracle calls, and every sequence that was the best for a while."""

import csv
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from discrete_lightning.design.training.design_writer import DesignCallback
from discrete_lightning.training.run_files import fresh_path, output_folder
from discrete_lightning.training.wandb_media import log_image


class DesignTrajectory(DesignCallback):
    """Draws `trajectory.png` and writes `trajectory.csv`, a row for each new best design: step, calls, score, total, sequence.

    Works on any LightningModule whose `search` has a `trajectory` (a list of design.Progress), such as SequenceDesigner.

    Args:
        name: of the two files, without suffix; never over existing ones.
    """

    def __init__(self, name: str = "trajectory") -> None:
        self.name = name

    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        search: Any = pl_module.search
        seen = [each for each in search.trajectory if each.sequence]
        if not seen:
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image

        folder = output_folder(trainer)
        with fresh_path(folder, f"{self.name}.csv").open("x", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "oracle_calls", "score", "total", "sequence"])
            before = ""
            for each in seen:
                if each.sequence != before:
                    before = each.sequence
                    writer.writerow([each.step, each.calls, f"{each.best_score:.6g}", f"{each.best_total:.6g}", before])
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        calls = [each.calls for each in seen]
        axes.plot(calls, [each.best_score for each in seen], label="best design")
        axes.plot(calls, [each.mean_score for each in seen], label="mean of the chains' best")
        axes.set_xlabel("oracle calls")
        axes.set_ylabel("score")
        axes.legend()
        path = fresh_path(folder, f"{self.name}.png")
        figure.savefig(path, dpi=120)
        with Image.open(path) as image:
            log_image(trainer, "designs/trajectory", image)
