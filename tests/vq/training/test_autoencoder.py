"""VQAutoencoder: shapes, round trips, its loss, and arguments that do not go together."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from discrete_lightning.data import Digits
from discrete_lightning.estimators import GumbelSoftmax, StraightThrough
from discrete_lightning.models import VQAutoencoder
from discrete_lightning.nn import GumbelQuantizer, ResidualQuantizer, VectorQuantizer
from discrete_lightning.protocols import DecodesIndices

QUANTIZERS = (GumbelQuantizer, VectorQuantizer)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_eval_decodes_its_own_codes(quantizer: type[GumbelQuantizer | VectorQuantizer]) -> None:
    torch.manual_seed(0)
    model = VQAutoencoder(quantizer(16, 8), hidden=8).eval()
    images = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        output = model(images)
        assert torch.equal(model.decode(model.encode(images).indices), output.images)
        assert torch.equal(model.decode_indices(model.encode(images).indices), output.images)
        assert torch.equal(model(images).images, output.images)  # deterministic
    assert output.quantized.indices.shape == (3, 7, 7)
    assert output.images.shape == images.shape
    assert isinstance(model, DecodesIndices)


def test_estimator_reaches_the_quantiser() -> None:
    model = VQAutoencoder(GumbelQuantizer(16, 8), GumbelSoftmax(), hidden=8)
    assert model.quantizer.sample.estimator == GumbelSoftmax()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"estimator": StraightThrough()}, "VectorQuantizer has no layer that samples"),
        ({"marginal_entropy": 0.1}, "VectorQuantizer has no logits"),
        ({"choice_entropy": 0.1}, "VectorQuantizer has no logits"),
    ],
)
def test_arguments_that_the_quantiser_cannot_use(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VQAutoencoder(VectorQuantizer(16, 8), **arguments)  # type: ignore[arg-type]


def test_loss_is_error_minus_bonuses() -> None:
    torch.manual_seed(0)
    model = VQAutoencoder(GumbelQuantizer(16, 8), choice_entropy=0.5, marginal_entropy=0.25, hidden=8)
    images = torch.rand(4, 1, 28, 28)
    output = model(images)
    p = torch.softmax(output.quantized.logits.double(), -1).reshape(-1, 16)
    choice, marginal = torch.special.entr(p).sum(-1).mean(), torch.special.entr(p.mean(0)).sum()
    expected = nn.functional.mse_loss(output.images, images) - 0.5 * choice - 0.25 * marginal + output.quantized.loss
    assert model.loss(output, images).item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_learns(quantizer: type[GumbelQuantizer | VectorQuantizer]) -> None:
    """120 steps bring the error below that of the mean image (0.067): the codes carry something of each image."""
    torch.manual_seed(0)
    model, data = VQAutoencoder(quantizer(32, 16), hidden=16, learning_rate=5e-3), Digits(batch_size=64)
    trainer = Trainer(
        max_steps=120, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(model, data)
    result = trainer.test(model, data, verbose=False)[0]
    assert result["test/reconstruction"] < 0.06
    assert ("test/relaxation_gap" in result) == (quantizer is GumbelQuantizer)
    again = trainer.test(model, data, verbose=False)[0]
    assert again == result  # evaluation is deterministic, the relaxation gap included


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_images_of_the_first_stages_and_of_dropped_codes(dtype: torch.dtype) -> None:
    model = VQAutoencoder(ResidualQuantizer(VectorQuantizer(8, 4), 3), hidden=4).eval()
    codes = model.encode(torch.rand(2, 1, 28, 28)).indices
    first = model.decode(codes[..., :2].to(dtype))
    if dtype.is_signed:
        dropped = codes.to(dtype, copy=True)
        dropped[..., 2] = -1
        torch.testing.assert_close(model.decode(dropped), first)
    assert not torch.equal(first, model.decode(codes))
    with pytest.raises(ValueError, match=r"codebook/1 lie in \[0, 7\], or are -1 for no code; got 8 to 8"):
        model.decode(torch.tensor([0, 8]).expand(1, 7, 7, 2))
    with pytest.raises(ValueError, match=r"integers of shape \(N, h, w, 3\)"):
        model.decode(codes.repeat(1, 1, 1, 2))
