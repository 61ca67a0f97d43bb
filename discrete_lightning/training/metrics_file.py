"""metrics.csv: as Lightning's CSVLogger writes it, but rows that were written once are never lost."""

import csv
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.core.saving import save_hparams_to_yaml
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from discrete_lightning.training.atomic_write import atomic_write, csv_lines, write_error, write_table


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
        if path.exists() and not path.is_symlink():
            with path.open(newline="", encoding="utf-8") as file:
                self.metrics_keys = next(csv.reader(file), [])

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Writes hparams.yaml beside its place, where Lightning writes in place and through links."""
        self.hparams.update(params)
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder, self.NAME_HPARAMS_FILE)
            save_hparams_to_yaml(whole, self.hparams)
            content = whole.read_bytes()
        with atomic_write(Path(self.log_dir, self.NAME_HPARAMS_FILE)) as file:
            file.write(content)

    def save(self) -> None:
        if not self.metrics:
            return
        path = Path(self.metrics_file_path)
        is_new = bool({key for row in self.metrics for key in row} - set(self.metrics_keys))
        if is_new or not path.exists() or path.is_symlink():
            self._write_anew(path)  # takes the place of a link
        else:
            self._append(path)
        self.metrics = []

    def _write_anew(self, path: Path) -> None:
        before: list[dict[str, str]] = []
        if path.exists() and not path.is_symlink():
            with path.open(newline="", encoding="utf-8") as old:
                before = list(csv.DictReader(old))
        columns = sorted({*self.metrics_keys, *(key for row in self.metrics for key in row)})
        write_table(path, columns, [*before, *self.metrics])
        self.metrics_keys = columns

    def _append(self, path: Path) -> None:
        size = path.stat().st_size
        try:
            with open(path, "ab", opener=_no_link) as file:
                file.write(csv_lines(self.metrics_keys, self.metrics))
        except OSError as error:
            with suppress(OSError), open(path, "r+b", opener=_no_link) as file:
                file.truncate(size)  # half a row would be read as a row
            raise write_error(path, error) from error


def _no_link(path: str, flags: int) -> int:
    """Opens a file of the run, and not what a link in its place leads to."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
