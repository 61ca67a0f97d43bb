"""The search for columns of a table in Lightning: that of `FeatureSelector`, with curves, checkpoints, and several ranks."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics import MeanMetric

from discrete_lightning.distributed import average_over_ranks
from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.protocols import ServesTable
from discrete_lightning.selection.budget import BudgetController
from discrete_lightning.selection.decision import BudgetError
from discrete_lightning.selection.features.feature_search import FeatureSearch, SearchSettings
from discrete_lightning.selection.features.interactions import screened_products
from discrete_lightning.selection.features.targets import Targets
from discrete_lightning.selection.gates.by_word import gate_of
from discrete_lightning.selection.training.drawn_gates import drawn_gates
from discrete_lightning.training.progress import progress
from discrete_lightning.training.restorable import RestorableModule

_TABLE = "feature_selection"  # in a checkpoint


class FeatureSelection(RestorableModule):
    """Chooses k columns of a table: gates on the columns, cross-fitted networks behind them (see `FeatureSearch`).

    Batches are `(columns, targets, row)`: float (B, D), standardised; int64 or float (B,) or (B, T); int64 (B,), the row's
    number, by which rows are folded. With the data module `FeatureTable`, or one of your own that `ServesTable`, the model
    learns the sizes from it, sees products of columns, and exchanges columns at the end; else give `columns` and `classes`.

    Logged: `train/loss` (on rows that a network has not seen; 1 is what knows nothing), `budget/expected`, and of validation
    and test `loss`, and `network_accuracy` or `network_r2`, of what is deployed, and `relaxation_gap`: how much better that
    figure is with the gates as they are in training.

    Args:
        k: number of columns, 1 or more.
        gate: "stochastic", "hard_concrete", "select_k", or an estimator or its name: see `gate_of`.
        columns: D; None: the data say it.
        classes: number of classes; 0: numbers; None: the data say it.
        settings: of the search; its `steps` and `batch_size` are the trainer's and the data's.

    Attributes:
        search: FeatureSearch, once the sizes are known; `search.gate.open()` is the choice.

    Raises:
        ValueError: if an argument is out of its range, sizes are unknown, or a batch does not fit.
        BudgetError: before training, if the table has fewer than k columns.

    Example:
        >>> model = FeatureSelection(k=2, columns=6, classes=3)
        >>> model(torch.randn(4, 6)).shape
        torch.Size([4, 3])
    """

    search: FeatureSearch

    def __init__(
        self,
        k: int = 5,
        gate: str | Estimator = "stochastic",
        columns: int | None = None,
        classes: int | None = None,
        settings: SearchSettings | None = None,
    ) -> None:
        super().__init__()
        check_at_least(1, k=k)
        self.k, self.gate_kind = k, gate
        self.settings = SearchSettings() if settings is None else settings
        self.automatic_optimization = False
        self.feature_names: tuple[str, ...] = ()
        self._rows: tuple[Tensor, Targets] | None = None
        self._is_resumed = False
        self.metrics = torch.nn.ModuleDict({stage: _Figures() for stage in ("val_figures", "test_figures")})
        gate_of(gate, 1)  # looks at the word
        if columns is not None:
            check_at_least(1, columns=columns)
            self.build(columns, Targets(_every_class(classes or 0), (classes,) if classes else ()))

    def build(self, columns: int, targets: Targets, products: list[tuple[int, ...]] | None = None) -> None:
        """Makes `search`.

        Raises:
            BudgetError: if there are fewer than k columns.
        """
        if self.k > columns:
            raise BudgetError(f"k={self.k}: the table has {columns} columns: lower model.k")
        gate = gate_of(self.gate_kind, columns)
        controller = BudgetController(self.k, two_sided=True)
        self.search = FeatureSearch(columns, targets, gate, controller, self.settings, products)
        self._use_rows()

    def _use_rows(self) -> None:
        if self._rows is not None and self.settings.exchange:
            self.search.exchange_by(self._rows[0], self._rows[1].centered())

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        table = data.training_table() if isinstance(data, ServesTable) else None
        if not hasattr(self, "search"):
            if table is None:
                raise ValueError(
                    "FeatureSelection does not know how many columns there are: give model.columns and model.classes, or a "
                    "data module such as FeatureTable"
                )
            x, targets = table
            most = self.settings.products
            self.build(x.shape[1], targets, screened_products(x, targets.columns(), most) if most else [])
            self.search.to(self.device)
        if table is not None and isinstance(data, ServesTable):
            self.feature_names, self._rows = tuple(data.feature_names), table
            self._use_rows()

    def forward(self, x: Tensor) -> Tensor:
        """The mean output of the networks behind the chosen columns: logits, or standardised numbers (B, outputs)."""
        with _full_precision(self):
            return self.search(x)

    def examples(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Columns float32 (B, D), targets (B, T) and numbers of the rows (B,) of a batch.

        Raises:
            ValueError: if it holds something else.
        """
        if (
            not isinstance(batch, tuple | list)
            or len(batch) < 3
            or not all(isinstance(each, Tensor) for each in batch[:3])
        ):
            raise ValueError(
                "batches of FeatureSelection are (columns, targets, row): without the row's number, rows cannot be folded; "
                "take FeatureTable, or serve a third tensor, int64 (B,)"
            )
        x, y, row = batch[:3]
        y = y.unsqueeze(1) if y.ndim == 1 else y
        columns, wanted = self.search.gate.size, self.search.targets.values.shape[1]
        if x.ndim != 2 or x.shape[1] != columns or not x.is_floating_point():
            raise ValueError(
                f"columns are floating-point numbers (B, {columns}), and a batch holds {x.dtype} {tuple(x.shape)}"
            )
        classes = bool(self.search.targets.classes)
        if y.shape != (len(x), wanted) or y.is_floating_point() == classes or row.shape != (len(x),):
            kind = "integers" if classes else "floating-point numbers"
            raise ValueError(
                f"targets are {kind} (B, {wanted}) and rows are integers (B,), and a batch holds {y.dtype} {tuple(y.shape)} "
                f"and {row.dtype} {tuple(row.shape)}"
            )
        return x.float(), y if classes else y.float(), row

    def on_fit_start(self) -> None:
        if not self._is_resumed:  # a new run starts without a decision
            self.search.gate.undecide()
        self._is_resumed = False

    def check_batch(self, batch: Any) -> None:
        """Compares the model with a batch of the data; raises ValueError if it does not fit."""
        self.examples(batch)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y, row = self.examples(batch)
        share = progress(self.trainer)
        if share >= self.search.controller.settle:
            self.search.decide(share)
        wrapped: Any = self.optimizers()
        self.search.set_rate(self.trainer.optimizers[0], share)
        with _full_precision(self):
            loss = self.search.gradients(x, y, row % self.settings.members, share)
        trained = [each for each in self.search.parameters() if each.grad is not None]
        gradients = average_over_ranks([each.grad for each in trained if each.grad is not None])
        for each, gradient in zip(trained, gradients, strict=True):
            each.grad = gradient
        wrapped.step()
        self.log("train/loss", loss, prog_bar=True)
        self.log("budget/expected", self.search.gate.open_probability().detach().sum(), on_step=True, on_epoch=False)

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == "fit":
            self.search.decide(progress(self.trainer, is_over=True))

    def on_train_end(self) -> None:
        self.search.decide()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: Any) -> None:
        x, y, _ = self.examples(batch)
        figures: Any = self.metrics[f"{stage}_figures"]
        with _full_precision(self):
            outputs = self.search(x)
            figures.loss.update(self.search.targets.losses(outputs, y))
            figures.figure.update(self._figure(outputs, y))
            if self.search.gate.held:  # what is trained is what is deployed
                figures.relaxed.update(self._figure(outputs, y))
            else:
                with drawn_gates(self.search):
                    figures.relaxed.update(self._figure(self.search(x), y))

    def _figure(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Per row: the share of targets that are right, or 1 - squared error in units of the variance."""
        targets = self.search.targets
        if not targets.classes:
            return 1 - (outputs - y).square().mean(-1)
        right = [(part.argmax(-1) == y[:, t]).float() for t, part in enumerate(outputs.split(targets.classes, -1))]
        return torch.stack(right).mean(0)

    def on_validation_epoch_end(self) -> None:
        self._log_figures("val")

    def on_test_epoch_end(self) -> None:
        self._log_figures("test")

    def _log_figures(self, stage: str) -> None:
        figures: Any = self.metrics[f"{stage}_figures"]
        loss, figure, relaxed = (each.compute() for each in (figures.loss, figures.figure, figures.relaxed))
        with torch.inference_mode(False):
            for each in (figures.loss, figures.figure, figures.relaxed):
                each.reset()
        name = "network_accuracy" if self.search.targets.classes else "network_r2"
        # equal on all ranks; without sync_dist Lightning warns
        for key, value in {"loss": loss, name: figure, "relaxation_gap": relaxed - figure}.items():
            self.log(f"{stage}/{key}", value, sync_dist=True, prog_bar=key == name)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """The networks' mean outputs (B, outputs), and the chosen columns (B, k)."""
        x = self.examples(batch)[0]
        return {"outputs": self(x), "columns": x[:, self.search.gate.open()]}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.search.optimizer()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        targets = self.search.targets
        checkpoint[_TABLE] = {
            "columns": self.search.gate.size,
            "classes": list(targets.classes),
            "values": targets.values if targets.classes else targets.values[:1],
            "products": [list(each) for each in self.search.network.products],
            "multipliers": self.search.controller.state_dict(),
            "names": list(self.feature_names),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint[_TABLE]
        products = [tuple(each) for each in saved["products"]]
        found = (saved["columns"], tuple(saved["classes"]), products)
        search = getattr(self, "search", None)
        if search is None or found != (search.gate.size, search.targets.classes, search.network.products):
            self.build(saved["columns"], Targets(saved["values"], found[1]), products)
            self.search.to(self.device)
        self._is_resumed = True
        self.search.controller.load_state_dict(saved["multipliers"])
        self.feature_names = tuple(saved["names"])


class _Figures(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.loss, self.figure, self.relaxed = MeanMetric(), MeanMetric(), MeanMetric()


def _every_class(classes: int) -> Tensor:
    """One row of each class, or one number: targets of a table that is not known."""
    with real_device():
        return torch.arange(classes).unsqueeze(1) if classes else torch.zeros(1, 1)


def _full_precision(module: LightningModule) -> Any:
    return torch.autocast(module.device.type, enabled=False)
