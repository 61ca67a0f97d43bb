"""What counting alone would reach: the anchors of a language model."""

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.data.text import TextData
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.text.ngram import NGram


class CountedText(Callback):
    """Logs, in a test, the nats per character of character n-grams on the same texts: a network above them has learnt less.

        test/unigram_nats_per_character    n = 1
        test/ngram6_nats_per_character     n = 6, interpolated (Witten-Bell)

    Rank 0 counts the training text of a `TextData` and reads the test text; the others wait.

    Args:
        orders: of the n-grams, each 1 or more.

    Raises:
        ValueError: if an order is less than 1; in setup, if the data is no `TextData`.
    """

    def __init__(self, orders: list[int] | None = None) -> None:
        self.orders = [1, 6] if orders is None else list(orders)
        check_at_least(1, **{f"orders[{i}]": each for i, each in enumerate(self.orders)})

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, TextData):
            raise ValueError(f"CountedText counts the characters of a TextData, and the data is {type(data).__name__}")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        found: dict[str, float] = {}
        if trainer.is_global_zero:
            for order in self.orders:
                name = "unigram" if order == 1 else f"ngram{order}"
                found[name] = NGram(order).fit(data.text("train")).nats_per_character(data.text("test"))
        found = trainer.strategy.broadcast(found)
        for name, nats in found.items():
            pl_module.log(f"test/{name}_nats_per_character", nats, rank_zero_only=True)
