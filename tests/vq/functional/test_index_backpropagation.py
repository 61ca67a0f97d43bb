"""The softmax over all codes in tiles equals the dense formula; drawn codes stand for those far away."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.vq.functional.index_backpropagation import index_backpropagation

SCALE = 2.0


def inputs(codes: int, count: int, dim: int = 5, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, c, g = (torch.randn(n, dim, generator=generator, dtype=torch.float64).to(dtype) for n in (count, codes, count))
    return x.requires_grad_(), (c + 7).to(dtype).requires_grad_(), g


def dense(x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The paper's formula, with logits of distances."""
    p = torch.softmax(-SCALE * (x.unsqueeze(1) - codes).square().sum(-1), -1)
    indices = p.argmax(-1)
    hard = torch.nn.functional.one_hot(indices, len(codes)).to(x.dtype)
    return (hard - p.detach() + p) @ codes, indices


def gradients(quantized: Tensor, x: Tensor, codes: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    d_x, d_codes = torch.autograd.grad((quantized * g).sum(), [x, codes])
    return d_x, d_codes


@pytest.mark.parametrize(("codes", "count"), [(7, 3), (2100, 520), (40, 0)])  # 2 x 2 tiles of 512 x 2,048
def test_values_and_gradients_are_those_of_the_dense_softmax(codes: int, count: int) -> None:
    x, c, g = inputs(codes, count)
    found, indices = index_backpropagation(x + 7, c, SCALE)
    expected, chosen = dense(x + 7, c)
    assert torch.equal(indices, chosen)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for a, b in zip(gradients(found, x, c, g), gradients(expected, x, c, g), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_float32_and_half_precision_are_near_the_dense_softmax() -> None:
    x, c, g = inputs(300, 50, dtype=torch.float32)
    expected = gradients(dense(x.double() + 7, c.double())[0], x, c, g)
    found = gradients(index_backpropagation(x + 7, c, SCALE)[0], x, c, g)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    half = (x.detach() + 7).bfloat16()
    quantized, indices = index_backpropagation(half, c, SCALE)
    assert quantized.dtype == torch.float32
    torch.testing.assert_close(quantized, c[indices], rtol=0, atol=1e-5)


def test_all_codes_drawn_for_those_far_away_give_the_gradient_of_the_dense_softmax_on_average() -> None:
    x, c, g = inputs(3000, 40)
    expected = gradients(dense(x + 7, c)[0], x, c, g)

    def mean_of(draws: int, negatives: int) -> tuple[float, float]:
        generator = torch.Generator().manual_seed(1)
        totals = [torch.zeros_like(each) for each in expected]
        for _ in range(draws):
            found, indices = index_backpropagation(x + 7, c, SCALE, negatives=negatives, generator=generator)
            assert torch.equal(indices, dense(x + 7, c)[1]) if not totals[0].any() else True
            for total, each in zip(totals, gradients(found, x, c, g), strict=True):
                total += each / draws
        return tuple(float((a - b).norm() / b.norm()) for a, b in zip(totals, expected, strict=True))  # type: ignore[return-value]

    one, many = mean_of(1, 300), mean_of(30, 300)
    large = mean_of(1, 30_000)
    assert max(one) < 0.2
    assert max(many) < 0.5 * max(one)  # errors of single draws cancel: what is left is the bias of a ratio
    assert max(large) < 0.02


@pytest.mark.parametrize("negatives", [None, 32])
def test_nothing_that_is_saved_has_the_size_of_n_times_k(negatives: int | None) -> None:
    x, c, _ = inputs(600, 400)
    sizes: list[int] = []

    def note(saved: Tensor) -> Tensor:
        sizes.append(saved.numel())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        found, _ = index_backpropagation(x, c, SCALE, negatives=negatives)
    assert max(sizes) <= max(x.numel(), c.numel())
    assert sum(sizes) < 8 * (x.numel() + c.numel()) < x.shape[0] * c.shape[0]
    found.sum().backward()


def test_what_does_not_fit_is_one_error() -> None:
    x, c, _ = inputs(8, 4)
    with pytest.raises(ValueError, match=r"do not fit.*\(4, 5\).*\(8, 3\)"):
        index_backpropagation(x, c[:, :3])
    with pytest.raises(ValueError, match="negatives must be >= 1 or None, got 0"):
        index_backpropagation(x, c, negatives=0)
    with pytest.raises(ValueError, match="finite"):
        index_backpropagation(x.detach() / 0, c)
