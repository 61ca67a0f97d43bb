"""Writes designed sequences: a FASTA file to order from, and a CSV file with the scores, edits and checks of each."""

import io
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.design import Design, NoFront
from discrete_lightning.protocols import DescribesDesigns, ReportsDesigns, ReportsParetoDesigns
from discrete_lightning.training.atomic_write import write_table, write_text
from discrete_lightning.training.run_files import fresh_path, output_folder


class DesignCallback(Callback):
    """Base of the callbacks that write designs: when fitting or predicting ends, also after Ctrl-C or an error in fitting.

    Attributes:
        needs: the Protocol that the module must have, and its method in words.

    Raises:
        TypeError: in setup, the module does not have the Protocol.
    """

    needs: ClassVar[tuple[type, str]] = (ReportsDesigns, "designs() -> list of design.Design")
    _written = True  # until setup: a process that only starts others has no designs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        protocol, method = self.needs
        if not isinstance(pl_module, protocol):
            raise TypeError(
                f"{type(self).__name__} needs a method {method}, which {type(pl_module).__name__} does not have; define it "
                "or leave the callback out"
            )
        self._written = False

    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the files; called on rank 0 only."""
        raise NotImplementedError

    def _write_once(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not self._written and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._written = True
            self.write(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write_once(trainer, pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write_once(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.training:
            self._write_once(trainer, pl_module)


class DesignWriter(DesignCallback):
    """Writes `designs.fasta` and `designs.csv` to the run's folder; existing files are not overwritten.

    Works on any LightningModule with a method `designs() -> list[design.Design]`. What else it writes depends on the Protocols
    that the module has: `pareto.csv`, whose rows are named pareto_1, ..., for ReportsParetoDesigns (several oracles), and a
    line if there are fewer designs than requested for DescribesDesigns.

    Columns: name, sequence, score, total, edits, `changes` of a template (A15G;20del;30_31insT, positions from 1 on; see
    design.changes and Edit.apply), one `passed` or `failed` for each constraint, oracle_calls (the number of evaluations when
    the sequence was found) and further scores (of a judge, of single oracles, an ensemble's mean and deviation).

    Args:
        name: of the two files, without suffix; also of the sequences, which are numbered.
    """

    def __init__(self, name: str = "designs") -> None:
        self.name = name

    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ReportsDesigns)  # setup() has checked it
        designs: list[Design] = pl_module.designs()
        if not designs:
            print("no designs were found; no files are written")
            return
        folder = output_folder(trainer)
        rows = self._rows(self.name, designs)
        path = self._table(folder, self.name, rows)
        if front := self._front(pl_module):
            self._table(folder, "pareto", self._rows("pareto", front))
        fasta = io.StringIO()
        for row, design in zip(rows, designs, strict=True):
            fasta.write(f">{row['name']} score={row['score']} edits={row['edits']}\n")
            fasta.writelines(f"{design.sequence[i : i + 80]}\n" for i in range(0, len(design.sequence), 80))
        write_text(fresh_path(folder, f"{self.name}.fasta"), fasta.getvalue())
        first = designs[0]
        best = first.sequence if len(first.sequence) <= 40 else f"{first.sequence[:37]}..."
        print(f"{self._count(pl_module, designs)}, the best is {best} with score {first.score:.6g}: {path}")

    def _count(self, pl_module: LightningModule, designs: list[Design]) -> str:
        if not isinstance(pl_module, DescribesDesigns) or len(designs) >= pl_module.requested_designs:
            return f"{len(designs)} designs"
        distance = pl_module.design_distance
        letters = "1 letter" if distance == 1 else f"{distance} letters"
        return (
            f"{len(designs)} of {pl_module.requested_designs} designs (no others were found that differ in {letters})"
        )

    def _front(self, pl_module: LightningModule) -> list[Design]:
        try:
            return pl_module.pareto_designs() if isinstance(pl_module, ReportsParetoDesigns) else []
        except NoFront as reason:
            print(f"no pareto.csv: {reason}")
            return []

    def _table(self, folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
        path = fresh_path(folder, f"{name}.csv")
        write_table(path, list(dict.fromkeys(key for row in rows for key in row)), rows)
        return path

    def _rows(self, name: str, designs: list[Design]) -> list[dict[str, Any]]:
        edited = any(design.edits for design in designs)
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
            for number, design in enumerate(designs, 1)
        ]
