"""What was chosen, how often, and how good it is beside scikit-learn's selectors."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.selection.feature_selector import FeatureSelector
from discrete_lightning.selection.statistics.agreement import jaccard_index
from discrete_lightning.selection.training.feature_selection import FeatureSelection
from discrete_lightning.selection.training.peers import fitted_score, peers_of
from discrete_lightning.selection.training.selection_pictures import draw_accuracy, draw_mask
from discrete_lightning.selection.training.table_data import FeatureTable
from discrete_lightning.training.atomic_write import write_table
from discrete_lightning.training.pictures import never_ends_a_run, save_figure
from discrete_lightning.training.run_files import fresh_path, output_folder


class SelectionReport(Callback):
    """Tests what a `FeatureSelection` has chosen: by one final model, beside other selectors, over several seeds.

    In a test, on rank 0: the columns that were chosen, those that `FeatureSelector` chooses with other seeds, and those of
    scikit-learn's SelectKBest (F test and mutual information), RFE (logistic or linear regression) and a forest's importances,
    each chosen by the training rows and scored on the test rows by a support vector machine on the standardised columns.
    Prints the names of the columns with how often they were chosen, and logs

        test/accuracy               of the chosen columns (test/r2 for numbers)
        test/best_peer_accuracy     the best of the peers at the same k (test/best_peer_r2)
        test/stability              mean Jaccard index of the choices of the seeds

    and writes features.csv, accuracy.png (against k) and, where columns are pixels, mask.png.

    Args:
        seeds: number of choices, that of this run among them, 1 or more.
        sizes: numbers of columns of the picture; empty: powers of 2 up to twice the number that was chosen.
        filename: of the table; None: no table.
        picture: of accuracy against k; None: no picture, and no selectors at other k.
        mask: picture of the pixels; None: none.

    Raises:
        ValueError: if a number is out of range; in setup, if the model is no FeatureSelection.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[SelectionReport(seeds=3)], logger=False, enable_checkpointing=False)
    """

    def __init__(
        self,
        seeds: int = 5,
        sizes: Sequence[int] = (),
        filename: str | None = "features.csv",
        picture: str | None = "accuracy.png",
        mask: str | None = "mask.png",
    ) -> None:
        check_at_least(1, seeds=seeds, **{f"sizes[{i}]": each for i, each in enumerate(sizes)})
        self.seeds, self.sizes = seeds, tuple(sizes)
        self.filename, self.picture, self.mask = filename, picture, mask

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, FeatureSelection):
            raise ValueError(f"SelectionReport tests a FeatureSelection, and the model is a {type(pl_module).__name__}")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, FeatureTable) or not isinstance(pl_module, FeatureSelection):
            warnings.warn(
                "SelectionReport compares selectors on the rows of a FeatureTable, and there is none: nothing is compared",
                stacklevel=2,
            )
            return
        name = "accuracy" if pl_module.search.targets.classes else "r2"
        figures = self._report(trainer, pl_module, data, name) if trainer.is_global_zero else {}
        figures = trainer.strategy.broadcast(figures)
        for key, value in figures.items():
            pl_module.log(f"test/{key}", value, rank_zero_only=True)

    def _report(self, trainer: Trainer, model: FeatureSelection, data: FeatureTable, name: str) -> dict[str, float]:
        mine = model.search.gate.open().cpu().numpy()
        k, columns = int(mine.sum()), len(mine)
        x, y = data.raw("train")
        test_x, test_y = data.raw("test")
        if y is None:
            y, test_y = x, test_x
        classes = bool(model.search.targets.classes)

        def selector(number: int, seed: int) -> FeatureSelector:
            steps = max(1, trainer.global_step or model.search.settings.steps)
            return FeatureSelector(
                number,
                task="classification" if classes else "regression",
                gate=model.gate_kind,
                steps=min(steps, model.search.settings.steps),
                hidden=model.settings.hidden,
                members=model.settings.members,
                batch_size=data.batch_size,
                products=model.settings.products,
                exchange=model.settings.exchange,
                random_state=seed,
            )

        def score(mask: Any) -> float:
            return fitted_score(x[:, mask], y, test_x[:, mask], test_y, classes)

        def peers(number: int) -> dict[str, float]:
            return {each: score(fit(x, y)) for each, fit in peers_of(number, classes).items()}

        chosen = [mine, *[selector(k, seed).fit(x, y).get_support() for seed in range(1, self.seeds)]]
        others = peers(k) if np.ndim(y) == 1 else {}
        figures = {name: score(mine)} | {f"{each}_{name}": value for each, value in others.items()}
        if others:
            figures[f"best_peer_{name}"] = max(others.values())
        if self.seeds > 1:
            figures["stability"] = float(jaccard_index(torch.from_numpy(np.stack(chosen))))
        self._write(trainer, model, data, np.stack(chosen))
        if self.picture and np.ndim(y) == 1 and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            with never_ends_a_run(self.picture):
                sizes = [each for each in self.sizes or _powers(k) if each <= columns]
                curves: dict[str, list[float]] = {}
                for size in sizes:
                    ours = {
                        "FeatureSelection": figures[name]
                        if size == k
                        else score(selector(size, 1).fit(x, y).get_support())
                    }
                    for label, value in (ours | (others if size == k else peers(size))).items():
                        curves.setdefault(label, []).append(value)
                figure = draw_accuracy(sizes, curves, name)
                save_figure(trainer, figure, self.picture, "selection/accuracy", _CAPTION)
        return figures

    def _write(self, trainer: Trainer, model: FeatureSelection, data: FeatureTable, chosen: Any) -> None:
        times, names = chosen.sum(0), data.feature_names
        scores = model.search.gate.scores().cpu().numpy()
        order = sorted(range(len(names)), key=lambda i: (not chosen[0][i], -times[i], -scores[i]))
        width = max(len(names[i]) for i in order)
        print(f"{int(chosen[0].sum())} of {len(names)} columns, and how many of {len(chosen)} seeds chose each:")
        for i in (each for each in order if chosen[0][each] or 2 * times[each] > len(chosen)):
            print(f"  {names[i]:<{width}} {int(times[i])}{'' if chosen[0][i] else ' (not by this one)'}")
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if self.filename:
            rows = [
                {"column": names[i], "chosen": int(chosen[0][i]), "seeds": int(times[i]), "score": f"{scores[i]:.4g}"}
                for i in order
            ]
            write_table(fresh_path(output_folder(trainer), self.filename), list(rows[0]), rows)
        if self.mask and data.image_shape is not None:
            with never_ends_a_run(self.mask):
                x, y = data.raw("train")
                figure = draw_mask(x, y, times / len(chosen), chosen[0], data.image_shape)
                save_figure(trainer, figure, self.mask, "selection/mask", _MASK)


def _powers(k: int) -> list[int]:
    """1, 2, 4, ... up to 2 k, and k."""
    return sorted({k, *[2**i for i in range(12) if 2**i <= 2 * k]})


_CAPTION = (
    "Score on the test rows of a support vector machine on the chosen columns, against their number; each selector chose them "
    "by the training rows."
)
_MASK = "Pixels that were chosen (red frames), and the share of seeds that chose each (opacity), over the mean of each class."
