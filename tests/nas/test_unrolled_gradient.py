"""Second-order DARTS against the exact derivative: the unrolled step differentiated by autograd."""

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.nas import unrolled_gradient
from tests.harness.device import PretendDevice


class Network:
    """A mixture of two layers, float64, smooth."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        self.weights = [draw(4, 5).requires_grad_(), draw(4, 5).requires_grad_(), draw(5, 3).requires_grad_()]
        self.alpha = draw(2).requires_grad_()
        self.batches = [(draw(16, 4), torch.randint(3, (16,), generator=generator)) for _ in range(2)]
        self.buffers = [draw(*each.shape) for each in self.weights]

    def loss(self, batch: int, weights: list[Tensor] | None = None) -> Tensor:
        first, second, last = self.weights if weights is None else weights
        x, y = self.batches[batch]
        p = torch.softmax(self.alpha, 0)
        return nn.functional.cross_entropy((p[0] * torch.tanh(x @ first) + p[1] * torch.sin(x @ second)) @ last, y)

    def exact(self, step: float, momentum: float, decay: float) -> Tensor:
        gradients = torch.autograd.grad(self.loss(0), self.weights, create_graph=True)
        # weight decay and momentum do not depend on alpha
        moved = [
            w.detach() - step * (momentum * b + g + decay * w.detach())
            for w, b, g in zip(self.weights, self.buffers, gradients, strict=True)
        ]
        return torch.autograd.grad(self.loss(1, moved), self.alpha)[0]


@pytest.mark.parametrize(("step", "momentum", "decay"), [(0.1, 0.0, 0.0), (0.5, 0.9, 0.1)])
def test_equals_the_exact_derivative(step: float, momentum: float, decay: float) -> None:
    net = Network()
    exact = net.exact(step, momentum, decay)
    first_order = torch.autograd.grad(net.loss(1), net.alpha)[0]
    before = [w.detach().clone() for w in net.weights]
    found = unrolled_gradient(
        lambda: net.loss(0), lambda: net.loss(1), net.weights, [net.alpha],
        step=step, momentum=momentum, buffers=net.buffers, weight_decay=decay,
    )[0]  # fmt: skip
    assert (exact - first_order).norm() > 0.05 * exact.norm()  # the second order matters here
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-8)
    assert all(torch.equal(w, b) for w, b in zip(net.weights, before, strict=True))


def test_error_falls_with_the_square_of_the_radius() -> None:
    net = Network(1)
    exact = net.exact(0.3, 0.0, 0.0)

    def error(radius: float) -> float:
        found = unrolled_gradient(
            lambda: net.loss(0), lambda: net.loss(1), net.weights, [net.alpha], step=0.3, radius=radius
        )
        return float((found[0] - exact).norm())

    assert 60 < error(0.4) / error(0.04) < 160


def test_weights_are_restored_after_an_error() -> None:
    net = Network()
    before = [w.detach().clone() for w in net.weights]

    def fails() -> Tensor:
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        unrolled_gradient(lambda: net.loss(0), fails, net.weights, [net.alpha], step=0.1)
    assert all(torch.equal(w, b) for w, b in zip(net.weights, before, strict=True))


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_without_float64_and_at_sizes_whose_squares_float32_cannot_hold(scale: float) -> None:
    """2 w' dw'/da of the loss scale w'^2, w' = w - xi d(a w)^2/dw."""
    w, a = torch.tensor([1.0], requires_grad=True), torch.tensor([2.0], requires_grad=True)
    with PretendDevice("mps", float64=False) as device:
        found = unrolled_gradient(
            lambda: (w * a).square().sum(), lambda: scale * w.square().sum(), [w], [a], step=0.1
        )[0]  # fmt: skip
    assert float(found) == pytest.approx(-0.32 * scale, rel=1e-3)
    assert device.reads.total() <= 1
