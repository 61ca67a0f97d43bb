"""Writes designed sequences: a FASTA file to order from, and a CSV file of what is known of each."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.design import Design, NoFront
from discrete_lightning.training.run_files import fresh_path, output_folder


class DesignCallback(Callback):
    """Base of what writes designs: when fitting or predicting ends, and also when it is cut short, so that nothing is lost.

    Works on any LightningModule with a method `designs() -> list[Design]`.

    Raises:
        TypeError: in setup, if the module has no `designs`.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not callable(getattr(pl_module, "designs", None)):
            raise TypeError(
                f"{type(self).__name__} needs a method designs() -> list of Design, which {type(pl_module).__name__} does not "
                "have; define it or leave the callback out"
            )
        self._written = False

    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the files; called on rank 0 alone."""
        raise NotImplementedError

    def _once(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not self._written and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._written = True
            self.write(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._once(trainer, pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._once(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.training:
            self._once(trainer, pl_module)


class DesignWriter(DesignCallback):
    """Writes `designs.fasta` and `designs.csv` to the run's folder, never over existing files.

    Columns: name, sequence, score, total, edits, `changes` of a template (A15G;C20T, positions from 1 on), one `passed` or
    `failed` for each constraint, oracle_calls (evaluations up to the moment of finding) and further scores (a judge's, single
    oracles', an ensemble's mean and deviation). Of several oracles also `pareto.csv`, whose rows are named pareto_1, ...

    Args:
        name: of the two files, without suffix; also of the sequences, numbered.
    """

    def __init__(self, name: str = "designs") -> None:
        self.name = name

    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found: list[Design] = pl_module.designs()  # type: ignore[operator]
        if not found:
            print("no designs were found, and none are written")
            return
        folder = output_folder(trainer)
        rows = self._rows(self.name, found)
        path = self._table(folder, self.name, rows)
        if front := self._front(pl_module):
            self._table(folder, "pareto", self._rows("pareto", front))
        with fresh_path(folder, f"{self.name}.fasta").open("x", encoding="utf-8") as file:
            for row, design in zip(rows, found, strict=True):
                file.write(f">{row['name']} score={row['score']} edits={row['edits']}\n")
                file.writelines(f"{design.sequence[i : i + 80]}\n" for i in range(0, len(design.sequence), 80))
        best = found[0].sequence if len(found[0].sequence) <= 40 else f"{found[0].sequence[:37]}..."
        print(f"{self._count(pl_module, found)}, the best {best} with score {found[0].score:.6g}: {path}")

    def _count(self, pl_module: Any, found: list[Design]) -> str:
        asked, distance = getattr(pl_module, "count", None), getattr(pl_module, "distance", 1)
        if not isinstance(asked, int) or len(found) >= asked:
            return f"{len(found)} designs"
        letters = "1 letter" if distance == 1 else f"{distance} letters"
        return f"{len(found)} of {asked} designs (no more of what was found differ in {letters})"

    def _front(self, pl_module: Any) -> list[Design]:
        try:
            return pl_module.pareto_front() if hasattr(pl_module, "pareto_front") else []
        except NoFront as reason:
            print(f"no pareto.csv: {reason}")
            return []

    def _table(self, folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
        path = fresh_path(folder, f"{name}.csv")
        with path.open("x", newline="", encoding="utf-8") as file:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        return path

    def _rows(self, name: str, found: list[Design]) -> list[dict[str, Any]]:
        edited = any(design.edits for design in found)
        return [
            {
                "name": f"{name}_{number}",
                "sequence": design.sequence,
                "score": f"{design.score:.6g}",
                "total": f"{design.total:.6g}",
                "edits": design.edits,
                **({"changes": design.changes} if edited else {}),
                **{rule: "passed" if kept else "failed" for rule, kept in design.checks.items()},
                "oracle_calls": design.calls,
                **{column: f"{value:.6g}" for column, value in design.more.items()},
            }
            for number, design in enumerate(found, 1)
        ]
