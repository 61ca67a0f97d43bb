"""metrics.csv: as Lightning's CSVLogger writes it, but rows that were written once are never lost."""

import csv
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from discrete_lightning.training.atomic_write import csv_lines, write_error, write_table


class MetricsFile(CSVLogger):
    """Writes `metrics.csv` and `hparams.yaml` to `folder`.

    Lightning's own logger removes a metrics.csv that it finds, and a strategy such as `ddp_spawn` makes the logger again in
    each of its processes: those of the test would remove the metrics of the training. Here the rows are continued. When a
    metric comes that has no column yet, the file is written anew beside the old one and takes its place when it is whole.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version="")
        self._folder = folder

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What writes the rows."""
        if self._experiment is None:
            self._experiment = _Rows(str(self._folder))
        return self._experiment


class _Rows(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Goes on with the file that there is, where Lightning removes it."""
        path = Path(self.metrics_file_path)
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.metrics_keys = next(csv.reader(file), [])

    def save(self) -> None:
        if not self.metrics:
            return
        path = Path(self.metrics_file_path)
        is_new = bool({key for row in self.metrics for key in row} - set(self.metrics_keys))
        if is_new or not path.exists():
            self._write_anew(path)
        else:
            self._append(path)
        self.metrics = []

    def _write_anew(self, path: Path) -> None:
        before: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as old:
                before = list(csv.DictReader(old))
        columns = sorted({*self.metrics_keys, *(key for row in self.metrics for key in row)})
        write_table(path, columns, [*before, *self.metrics])
        self.metrics_keys = columns

    def _append(self, path: Path) -> None:
        size = path.stat().st_size
        try:
            with path.open("ab") as file:
                file.write(csv_lines(self.metrics_keys, self.metrics))
        except OSError as error:
            with path.open("r+b") as file:
                file.truncate(size)  # half a row would be read as a row
            raise write_error(path, error) from error
