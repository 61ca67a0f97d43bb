"""The course of a search: best and mean score over oracle calls, and each new best sequence."""

from lightning.pytorch import LightningModule, Trainer

from discrete_lightning.design.search.trajectory import Progress
from discrete_lightning.design.training.design_writer import DesignCallback
from discrete_lightning.protocols import RecordsSearch
from discrete_lightning.training.atomic_write import write_table
from discrete_lightning.training.pictures import never_ends_a_run, save_figure
from discrete_lightning.training.run_files import fresh_path, output_folder


class DesignTrajectory(DesignCallback):
    """Draws `trajectory.png` and writes `trajectory.csv`: a row (step, calls, score, total, sequence) for each new best design.

    Works on any LightningModule with a method `search_trajectory() -> list[design.Progress]`, such as SequenceDesigner.

    Args:
        name: of the two files, without suffix. Existing files are not overwritten.
    """

    needs = RecordsSearch, "search_trajectory() -> list of design.Progress"

    def __init__(self, name: str = "trajectory") -> None:
        self.name = name

    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, RecordsSearch)  # setup() has checked it
        trajectory: list[Progress] = pl_module.search_trajectory()
        seen = [each for each in trajectory if each.sequence]
        if not seen:
            return
        folder = output_folder(trainer)
        rows = [
            {
                "step": each.step,
                "oracle_calls": each.calls,
                "score": f"{each.best_score:.6g}",
                "total": f"{each.best_total:.6g}",
                "sequence": each.sequence,
            }
            for number, each in enumerate(seen)
            if number == 0 or each.sequence != seen[number - 1].sequence
        ]
        write_table(fresh_path(folder, f"{self.name}.csv"), list(rows[0]), rows)
        with never_ends_a_run(f"{self.name}.png"):
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure

            # with a price of edits or a target, the search minimises something else than the score
            has_totals = any(abs(each.best_total) != abs(each.best_score) for each in seen)
            figure = Figure(figsize=(5, 4.8 if has_totals else 3.2), layout="constrained")
            FigureCanvasAgg(figure)
            panels = figure.subplots(1 + has_totals, squeeze=False, sharex=True)[:, 0]
            calls = [each.calls for each in seen]
            panels[0].step(calls, [each.best_score for each in seen], where="post", label="best design")
            panels[0].plot(calls, [each.mean_score for each in seen], label="mean of the chains' best")
            panels[0].set_ylabel("score")
            panels[0].legend()
            if has_totals:
                panels[1].step(calls, [each.best_total for each in seen], where="post")
                panels[1].set_ylabel("best total (lower is better)")
            panels[-1].set_xscale("log")
            panels[-1].set_xlabel("oracle calls")
            caption = "Search: best design so far, and the mean of the chains' best, over the calls of the oracle"
            caption += "; below, what the search minimises" if has_totals else ""
            save_figure(trainer, figure, f"{self.name}.png", "designs/trajectory", caption)
