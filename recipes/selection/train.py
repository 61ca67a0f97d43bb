"""Gates in a LightningModule of one's own: 5 of breast cancer's 30 columns, by any layer of gates and the callback Budget.

python recipes/selection/train.py
"""

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn

from discrete_lightning.callbacks import Budget
from discrete_lightning.data import FeatureTable
from discrete_lightning.nn import StochasticGate


class GatedClassifier(LightningModule):
    """A gate on each column, then an MLP."""

    def __init__(self, columns: int, classes: int) -> None:
        super().__init__()
        self.gate = StochasticGate(columns)  # or HardConcrete(columns), Gate(columns, ReinMax()), SelectK(5, columns)
        self.network = nn.Sequential(nn.Linear(columns, 32), nn.GELU(), nn.Linear(32, classes))
        self.right: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.gate(x))

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y, _ = batch
        return nn.functional.cross_entropy(self(x), y[:, 0])

    def test_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> None:
        x, y, _ = batch
        self.log("test/accuracy", (self(x).argmax(-1) == y[:, 0]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        others = {"params": self.network.parameters(), "lr": 3e-3}
        return torch.optim.AdamW([others, {"params": self.gate.parameters(), "lr": 3e-2, "weight_decay": 0.0}])


def main() -> None:
    seed_everything(1)
    data = FeatureTable("breast_cancer", batch_size=320)
    data.setup()
    model = GatedClassifier(len(data.feature_names), classes=2)
    # all gates are open first; then their expected number falls to 5; then the best 5 are decided and held
    trainer = Trainer(
        max_epochs=10, callbacks=[Budget(5)], logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(model, data.train_dataloader())
    trainer.test(model, data)
    print([data.feature_names[i] for i in model.gate.open().nonzero()[:, 0].tolist()])


if __name__ == "__main__":
    main()
