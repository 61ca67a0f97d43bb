"""What each expert takes: a table of its tokens and words, and a page of text coloured by expert."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.protocols import DecodesTokens
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.training.expert_page import page, table
from discrete_lightning.routing.training.routed_text import RoutedText, routed_text
from discrete_lightning.routing.training.watched import routers_of, watched_routers
from discrete_lightning.training.atomic_write import write_text
from discrete_lightning.training.batches import examples_of
from discrete_lightning.training.pictures import never_ends_a_run
from discrete_lightning.training.run_files import fresh_path, output_folder


class ExpertReport(Callback):
    """Sends the first tokens of the validation data through the model when fitting ends, and writes where they went.

    A table for a person: for each layer and expert its share of all choices, the tokens that it takes more often than the
    others do, and the words they stand in. A page in HTML: the text, each token in the colour of its expert with the largest
    gate. Works on any LightningModule that is called with tokens (B, S) and whose routers see these tokens; it, or the data
    module, has `decode_tokens(tokens) -> text`. Without validation nothing is written.

    Args:
        tokens: how many are counted for the table.
        shown: how many are on the page.
        table: name of the table in the run's folder, a text file; None: no table.
        page: of the page; None: no page.

    Raises:
        ValueError: if a number is less than 1; in setup, if the module holds no router.
        TypeError: in setup, if nothing decodes tokens.
    """

    def __init__(
        self,
        tokens: int = 20_000,
        shown: int = 1_500,
        table: str | None = "experts.txt",
        page: str | None = "experts.html",
    ) -> None:
        check_at_least(1, tokens=tokens, shown=shown)
        self.tokens, self.shown, self.table, self.page = tokens, shown, table, page
        self._batches: list[Tensor] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if not routers_of(pl_module):
            raise ValueError(f"ExpertReport finds no router in {type(pl_module).__name__}; leave the callback out")
        if self._decoder(trainer, pl_module) is None:
            raise TypeError(
                f"ExpertReport needs a method decode_tokens(tokens) -> text, of {type(pl_module).__name__} or of the data "
                "module; define it or leave the callback out"
            )

    def _decoder(self, trainer: Trainer, pl_module: LightningModule) -> DecodesTokens | None:
        both: tuple[Any, ...] = (pl_module, getattr(trainer, "datamodule", None))
        return next((each for each in both if isinstance(each, DecodesTokens)), None)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx == dataloader_idx == 0:
            self._batches = []
        if trainer.is_global_zero and sum(each.numel() for each in self._batches) < max(self.tokens, self.shown):
            self._batches.append(examples_of(batch).inputs)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches, self._batches = self._batches, []
        if not batches or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        with never_ends_a_run("what the experts take"):
            found = self._texts(trainer, pl_module, batches)
            for name, text in ((self.table, table(found)), (self.page, page(found, self.shown))):
                if name:
                    write_text(fresh_path(output_folder(trainer), name), text)

    @torch.no_grad()
    def _texts(self, trainer: Trainer, module: LightningModule, batches: list[Tensor]) -> dict[str, RoutedText]:
        decoder = self._decoder(trainer, module)
        assert decoder is not None  # checked in setup
        found: dict[str, list[RoutedText]] = {name: [] for name in routers_of(module)}
        training = module.training
        module.eval()
        try:
            for batch in batches:
                rows = batch.cpu()
                pieces = [[decoder.decode_tokens(each.view(1)) for each in row] for row in rows]

                def add(name: str, routed: Routed, pieces: list[list[str]] = pieces) -> None:
                    found[name].append(routed_text(pieces, routed))

                # outside of a step Lightning does not apply the run's precision
                with module.trainer.precision_plugin.forward_context(), watched_routers(module, add):
                    module(batch.to(module.device))
        finally:
            module.train(training)
        return {name: _joined(texts) for name, texts in found.items() if texts}


def _joined(texts: list[RoutedText]) -> RoutedText:
    pieces = [row for each in texts for row in each.pieces]
    return RoutedText(pieces, torch.cat([each.chosen for each in texts]), torch.cat([each.first for each in texts]))
