"""Items as tuples of residual codes, for generative retrieval (TIGER, Rajput et al. 2023, section 3.1, RQ-VAE;
https://arxiv.org/abs/2305.05065)."""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.layers.usage import LiveCodes
from discrete_lightning.training.batches import examples_of
from discrete_lightning.training.per_loader import PerLoader
from discrete_lightning.training.restorable import RestorableModule
from discrete_lightning.vq.collision_rate import CollisionRate
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Quantizer
from discrete_lightning.vq.quantizers.residual import ResidualQuantizer
from discrete_lightning.vq.quantizers.vector import VectorQuantizer
from discrete_lightning.vq.training.codebook_updates import CodebookUpdates


class ItemTokenizer(RestorableModule):
    """An autoencoder of items' vectors through a residual quantiser: the codes of an item are its semantic ID.

    loss = mean squared error + the quantiser's own loss

    Validation and test log the error, `collision_rate` (the share of the items whose codes are not theirs alone) and the live
    codes of each level. `predict` with the callback SemanticIDWriter writes the IDs.

    Args:
        dim: of the vectors.
        quantizer: with several codes a vector, as a ResidualQuantizer has. By default 3 levels of 256 codes of 32 dimensions.
        hidden: widths of the encoder's layers; the decoder mirrors them.
        learning_rate: of Adam.

    Raises:
        ValueError: if an argument is out of its range, or the quantiser has a single code a vector; at a batch, if it does not
            hold vectors (B, dim) and the numbers of their items (B,).

    Example:
        >>> model = ItemTokenizer(dim=20).eval()
        >>> model.encode(torch.randn(5, 20)).indices.shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        dim: int,
        quantizer: Quantizer | None = None,
        hidden: Sequence[int] = (256, 128),
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__()
        check_at_least(1, dim=dim, **{f"hidden[{i}]": each for i, each in enumerate(hidden)})
        check_positive(learning_rate=learning_rate)
        if quantizer is None:
            quantizer = ResidualQuantizer(VectorQuantizer(256, 32, commitment=0.25), 3)
        if len(quantizer.index_shape) != 1:
            raise ValueError(
                f"a semantic ID is a tuple of codes, and {type(quantizer).__name__} gives indices of shape "
                f"{quantizer.index_shape} a vector: take a ResidualQuantizer of single codebooks"
            )
        self.dim, self.quantizer, self.learning_rate = dim, quantizer, learning_rate
        widths = [dim, *hidden, quantizer.dim]
        self.encoder, self.decoder = _layers(widths), _layers(widths[::-1])
        counted = [each.num_codes for each in quantizer.codebooks() if each.countable]
        self.val_metrics, self.test_metrics = (PerLoader(partial(_ItemMetrics, counted)) for _ in range(2))

    def encode(self, vectors: Tensor) -> Quantized:
        """The codes of vectors (B, dim): indices (B, levels)."""
        return self.quantizer(self.encoder(vectors))

    def decode(self, indices: Tensor) -> Tensor:
        """Vectors (B, dim) of codes (B, levels); with a ResidualQuantizer also of the first ones."""
        vectors: Tensor = self.decoder(self.quantizer.decode(indices).to(next(self.decoder.parameters()).dtype))
        return vectors

    def forward(self, vectors: Tensor) -> tuple[Tensor, Quantized]:
        """Reconstructed vectors, and the codes they were made from."""
        quantized = self.encode(vectors)
        return self.decoder(quantized.quantized), quantized

    def items_of(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The vectors (B, dim) and numbers (B,) of a batch.

        Raises:
            ValueError: if it holds something else.
        """
        vectors, numbers = examples_of(batch)
        if not vectors.is_floating_point() or vectors.ndim != 2 or vectors.shape[1] != self.dim:
            found = f"{vectors.dtype} {tuple(vectors.shape)}"
            advice = f"set dim={vectors.shape[1]} (model.dim in a config)" if vectors.ndim == 2 else "flatten them"
            raise ValueError(f"the model takes vectors (batch, {self.dim}), and the data serves {found}: {advice}")
        if numbers is None or numbers.is_floating_point():
            raise ValueError(
                "a batch is (vectors, numbers), the numbers of the items as integers (B,), and the data serves none: "
                "ItemVectors does"
            )
        return vectors, numbers

    def check_batch(self, batch: Any) -> None:
        """Compares the model with a training batch of the data; raises as `items_of`."""
        self.items_of(batch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        vectors, _ = self.items_of(batch)
        output, quantized = self(vectors)
        error = (output.float() - vectors.float()).square().mean()
        loss = error + quantized.loss
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/error", error.detach())
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("val", batch, dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("test", batch, dataloader_idx)

    def _evaluate(self, stage: str, batch: Any, loader: int) -> None:
        vectors, numbers = self.items_of(batch)
        name, size = f"{stage}_metrics", len(vectors)
        metrics = cast(PerLoader[_ItemMetrics], getattr(self, name)).of(loader, self.device)
        output, quantized = self(vectors)
        error = (output.float() - vectors.float()).square().mean()
        self.log(f"{stage}/error", error, batch_size=size, sync_dist=True, prog_bar=True)
        metrics.collisions.update(quantized.indices, numbers)
        where = f"{name}.{loader}.collisions"
        self.log(f"{stage}/collision_rate", metrics.collisions, batch_size=size, metric_attribute=where, prog_bar=True)
        for level, live in enumerate(cast(Iterable[LiveCodes], metrics.live)):
            live.update(quantized.indices[:, level])
            where = f"{name}.{loader}.live.{level}"
            self.log(f"{stage}/live_codes_{level + 1}", live, batch_size=size, metric_attribute=where)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        vectors, numbers = self.items_of(batch)
        return {"codes": self.encode(vectors).indices, "items": numbers}

    def configure_callbacks(self) -> list[Callback]:
        """What moves its codes; a Trainer has it already where the package is installed."""
        there = any(isinstance(each, CodebookUpdates) for each in self.trainer.callbacks)  # type: ignore[attr-defined]
        return [] if there else [CodebookUpdates()]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


class _ItemMetrics(nn.Module):
    def __init__(self, counted: Sequence[int]) -> None:
        super().__init__()
        self.collisions = CollisionRate()
        self.live = nn.ModuleList(LiveCodes(each) for each in counted)


def _layers(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
