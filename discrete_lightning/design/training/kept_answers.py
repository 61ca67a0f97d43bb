"""Keeps the answers of an oracle without gradient in the run's folder, so that a killed run asks no query twice."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.design.answer_journal import AnswerJournal, journal_of_rank, journals_of_ranks, read_answers
from discrete_lightning.design.evaluator import Evaluator
from discrete_lightning.training.run_files import fresh_path, has_own_folder, output_folder

_NAME, _START = "answers.jsonl", "start.ckpt"


class KeptAnswers(Callback):
    """Gives the evaluator a journal while it is fitted, `answers.jsonl` in the run's folder; see AnswerJournal.

    A run has a checkpoint from its first moment, `checkpoints/start.ckpt`, to continue from. It goes when there is another one.

    Args:
        evaluator: of the search.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self._path: Path | None = None  # of rank 0
        self._before: Path | None = None  # of the run that is continued, where it lay
        self._start: Path | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"answers": "" if self._path is None else str(self._path.resolve())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = Path(state_dict["answers"]) if state_dict["answers"] else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not has_own_folder(trainer) or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        before = _found(self._before, trainer.ckpt_path)
        path, answers = None, None
        if trainer.is_global_zero:
            path = fresh_path(output_folder(trainer), _NAME)
            if before is not None:
                answers, damaged = read_answers(journals_of_ranks(before), self.evaluator.count)
                _report(len(answers), damaged, before)
        # rank 0 reads for all: the others must recall the same answers
        path, answers = trainer.strategy.broadcast((path, answers))
        assert path is not None
        self._path = path
        own = journal_of_rank(path, trainer.global_rank)
        journal = AnswerJournal(own, answers or (), before if trainer.is_global_zero else None)
        if trainer.is_global_zero:
            for gradient in (False, True):
                journal.write(each for each in journal.recalled if each.gradient is gradient)
        self.evaluator.journal = journal
        self._save_start(trainer)

    def _save_start(self, trainer: Trainer) -> None:
        if trainer.checkpoint_callback is None:
            return
        start = output_folder(trainer) / "checkpoints" / _START
        if start.exists():
            return
        if trainer.ckpt_path is None:
            trainer.save_checkpoint(start, weights_only=False)
        elif trainer.is_global_zero:  # as it was: a state that is restored and saved again may differ in its counters
            strategy = trainer.strategy
            checkpoint = strategy.checkpoint_io.load_checkpoint(trainer.ckpt_path, weights_only=True)
            for key, state in checkpoint.get("callbacks", {}).items():
                if key.startswith(type(self).__name__):
                    state.update(self.state_dict())
            strategy.checkpoint_io.save_checkpoint(checkpoint, start)
        self._start = start

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end(trainer)

    def _end(self, trainer: Trainer) -> None:
        journal, self.evaluator.journal = self.evaluator.journal, None
        if journal is not None and self.evaluator.differentiable:  # some may be from before that was known
            journal.path.unlink(missing_ok=True)
        start, self._start = self._start, None
        if start is None or journal is None or not trainer.is_global_zero or not start.exists():
            return
        others = [path for path in start.parent.glob("*.ckpt") if path.name != _START]
        if others or not journal.path.exists():
            trainer.strategy.remove_checkpoint(start)


def _found(before: Path | None, checkpoint: Any) -> Path | None:
    """The journal of the run that is continued: beside its checkpoint, or else where it was. The run may have been moved."""
    if before is None or checkpoint is None:
        return None
    folders = Path(checkpoint).resolve().parents[:2]
    return next((folder / before.name for folder in folders if (folder / before.name).exists()), before)


def _report(answers: int, damaged: int, journal: Path) -> None:
    if answers:
        print(
            f"{answers} answers of the oracle since the checkpoint are taken from {journal}; without it they are asked again"
        )
    if damaged:
        print(f"note: {damaged} damaged lines of {journal} are left out, and what they answered is asked again")
