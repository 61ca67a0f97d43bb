"""CodebookMonitor on a user's own module: what is logged and drawn, and its warning."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from discrete_lightning.callbacks import CodebookMonitor
from discrete_lightning.nn import (
    FiniteScalarQuantizer,
    LargeGumbelQuantizer,
    LearnedVectorQuantizer,
    LookupFreeQuantizer,
    Quantized,
    ResidualQuantizer,
    VectorQuantizer,
)
from tests.training.user_codebook import Codes, images, logged, trainer


def test_monitor_logs_use_and_draws(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trainer(tmp_path, CodebookMonitor()).fit(Codes(), images(), images())
    assert logged(tmp_path, "codes/live_share") == [1.0] * 3
    assert all(1 < value <= 8 for value in logged(tmp_path, "codes/perplexity"))
    with Image.open(tmp_path / "codes.png") as picture:
        assert min(picture.size) > 100


def test_monitor_warns_once_of_a_collapse_and_names_the_knob(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Codes(num_codes=64, kmeans_iterations=0, revive_below=0.0)
    model.book.codes[1:] += 1e3  # one code near the data
    with pytest.warns(UserWarning, match="'?book'? has collapsed: 2% of its 64 codes.*revive_below") as caught:
        trainer(tmp_path, CodebookMonitor(), epochs=5).fit(model, images(), images())
    assert len([warning for warning in caught if "collapsed" in str(warning.message)]) == 1


def test_monitor_counts_nothing_after_fit(tmp_path: Path) -> None:
    model = Codes()
    trainer(tmp_path, CodebookMonitor(filename=None)).fit(model, images(), images())
    assert not model.book._forward_hooks


def test_monitor_tells_several_codebooks_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Codes()
    model.book = ResidualQuantizer(VectorQuantizer(8, 4), 2)  # type: ignore[assignment]
    trainer(tmp_path, CodebookMonitor(), epochs=2).fit(model, images(), images())
    for stage in range(2):
        assert len(logged(tmp_path, f"codes/book.quantizers.{stage}/live_share")) == 2
        assert all(1 < value <= 8 for value in logged(tmp_path, f"codes/book.quantizers.{stage}/perplexity"))
    assert (tmp_path / "codes.png").exists()


@pytest.mark.parametrize(
    ("book", "remedy"),
    [
        (LearnedVectorQuantizer(64, 4, kmeans_iterations=0, revive_below=0.0), "raise revive_below"),
        (LookupFreeQuantizer(4, entropy=0.0), "raise entropy or gamma"),
        (FiniteScalarQuantizer([15, 15, 15, 15]), "fewer levels"),
        (LargeGumbelQuantizer(64, 4), "raise marginal_entropy"),
    ],
)
def test_the_warning_names_the_knob_of_each_kind(tmp_path: Path, book: Any, remedy: str) -> None:
    torch.manual_seed(0)
    model = Codes()
    model.scale.weight.data.zero_()
    model.scale.bias.data.fill_(0.1)  # all vectors are one
    if isinstance(book, LargeGumbelQuantizer):
        book.to_logits.bias.data[0] = 100.0
    model.book = book
    with pytest.warns(UserWarning, match=f"has collapsed.*{remedy}"):
        trainer(tmp_path, CodebookMonitor(filename=None, patience=1), epochs=1).fit(model, images(), images())


def test_shows_what_codes_decode_to_where_the_module_says_it(tmp_path: Path) -> None:
    class Decoding(Codes):
        def decode_indices(self, indices: torch.Tensor) -> torch.Tensor:
            assert not self.training
            return self.book.decode(indices).sum(-1, keepdim=True).movedim(-1, 1).sigmoid()

    for folder, model in ((tmp_path / "without", Codes()), (tmp_path / "with", Decoding())):
        trainer(folder, CodebookMonitor(), epochs=1).fit(model, images(), images())
    with Image.open(tmp_path / "without" / "codes.png") as plain, Image.open(tmp_path / "with" / "codes.png") as full:
        assert full.height == plain.height + round(4.5 * 120)


@pytest.mark.parametrize("by_name", [False, True])
def test_padded_vectors_do_not_count(tmp_path: Path, by_name: bool) -> None:
    class Masked(VectorQuantizer):
        """Padding is given the last code."""

        def forward(self, vectors: torch.Tensor, mask: torch.Tensor | None = None) -> Quantized:
            result = super().forward(vectors)
            return result if mask is None else result._replace(indices=torch.where(mask, result.indices, 7))

    class Padded(Codes):
        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
            vectors = self.scale(batch[0].view(-1, 4, 4))
            mask = (torch.arange(4) < 2).expand(len(vectors), 4)
            result = self.book(vectors, mask=mask) if by_name else self.book(vectors, mask)
            return result.quantized.square().mean() + result.loss

    model = Padded()
    model.book = Masked(8, 4, kmeans_iterations=0, revive_below=0.0)
    model.book.codes[7] = 1e3  # far from the data: only padding is given it
    loop = trainer(tmp_path, CodebookMonitor(filename=None), epochs=1)
    loop.fit(model, images(), images())
    assert loop.callback_metrics["codes/live_share"] < 1
