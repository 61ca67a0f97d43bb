"""The losses for an even load: their formulas, padding, what the gradient is, and how a model's are found."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from discrete_lightning.routing import ExpertMLP, MixtureOfExperts, ReMoERouter, SwitchRouter, TopKRouter, routing_loss
from discrete_lightning.routing.functional import balance_loss, z_loss
from tests.references.inputs import leaf, seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*no optimiser trains what it computes from")


def test_balance_loss_is_one_when_even_and_n_when_one_takes_all() -> None:
    for k in (1, 2):
        even = torch.stack([torch.arange(4), (torch.arange(4) + 1) % 4], -1)[:, :k]
        assert balance_loss(torch.full((4, 4), 0.25), even).item() == pytest.approx(1.0)
    one = torch.tensor([1.0, 0, 0, 0]).expand(4, 4)
    assert balance_loss(one, torch.zeros(4, 1, dtype=torch.int64)).item() == pytest.approx(4.0)


@pytest.mark.parametrize("masked", [False, True])
def test_balance_loss_and_its_gradient(masked: bool) -> None:
    generator = seeded(0)
    logits = leaf(torch.randn(2, 5, 6, generator=generator))
    indices = logits.detach().topk(2).indices
    mask = torch.rand(2, 5, generator=generator) < 0.6 if masked else torch.ones(2, 5, dtype=torch.bool)
    earlier = torch.tensor([3.0, 0, 0, 1, 0, 0])
    loss = balance_loss(torch.softmax(logits, -1), indices, mask if masked else None, earlier)
    loss.backward()
    again = leaf(logits.detach())
    p, chosen = torch.softmax(again, -1)[mask], indices[mask]
    counts = chosen.flatten().bincount(minlength=6) + earlier
    expected = 6 * (counts / counts.sum() * p.mean(0)).sum()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits.grad, again.grad)


@pytest.mark.parametrize("masked", [False, True])
def test_z_loss(masked: bool) -> None:
    logits = torch.randn(2, 5, 6, generator=seeded(0))
    mask = torch.rand(2, 5, generator=seeded(1)) < 0.6 if masked else torch.ones(2, 5, dtype=torch.bool)
    expected = logits[mask].logsumexp(-1).square().mean()
    torch.testing.assert_close(z_loss(logits, mask if masked else None), expected)


def test_no_token_counts() -> None:
    nobody = torch.zeros(3, dtype=torch.bool)
    assert z_loss(torch.zeros(3, 4), nobody) == 0
    assert balance_loss(torch.full((3, 4), 0.25), torch.zeros(3, 1, dtype=torch.int64), nobody) == 0
    assert z_loss(torch.zeros(0, 4)) == 0


def test_remoe_loss_is_its_formula_and_its_weight_follows_the_share_of_open_gates() -> None:
    router = ReMoERouter(4, 6, 2, start=0.5, factor=2.0)
    nn.init.normal_(router.weight, generator=seeded(0))
    x = torch.randn(50, 4, generator=seeded(1))
    routed = router(x)
    gates = torch.relu(x @ router.weight.T)
    frequency = 6 / (2 * 50) * (gates > 0).sum(0)
    torch.testing.assert_close(routed.loss, 0.5 / 50 * (frequency * gates).sum())
    optimizer = torch.optim.SGD(router.parameters(), lr=0.0)
    for _ in range(3):
        router(x).gates.sum().backward()
        optimizer.step()
    assert (gates > 0).float().mean() > 2 / 6
    assert router.sparsity_weight.item() == 0.5 * 2.0**3
    with torch.no_grad():
        router.weight.copy_(-torch.ones(6, 4))
    router(x.abs()).gates.sum().backward()  # all closed
    optimizer.step()
    assert router.sparsity_weight.item() == 0.5 * 2.0**2


def losses_of(model: nn.Module) -> list[Tensor]:
    return [each.loss for each in model.modules() if isinstance(each, MixtureOfExperts) and each.loss is not None]


def model(balance: float = 0.01) -> nn.Sequential:
    torch.manual_seed(0)
    routers = [SwitchRouter(4, 3, jitter=0.0, balance=balance), TopKRouter(4, 3, 2, balance=balance, z=0.1)]
    return nn.Sequential(*(MixtureOfExperts(ExpertMLP(4, 8), 3, each.k, router=each) for each in routers))


def test_the_losses_of_a_model_are_found_by_type() -> None:
    network, x = model(), torch.randn(7, 4, generator=seeded(0))
    network(x)
    total = routing_loss(network)
    torch.testing.assert_close(total, sum(losses_of(network)))
    routed = network[1].router(network[0](x))
    expected = 0.01 * balance_loss(routed.probabilities, routed.indices) + 0.1 * z_loss(routed.logits)
    torch.testing.assert_close(losses_of(network)[1], expected)
    assert routing_loss(network.eval()) == 0
    assert routing_loss(nn.Linear(2, 2)) == 0


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_keeps_the_loss_or_says_what_to_do(reentrant: bool) -> None:
    """The gradient is that without it, though the window has counted the pass by when it is repeated."""
    x = torch.randn(7, 4, generator=seeded(0)).requires_grad_()
    gradients = []
    for checkpointed in (False, True):
        network = model(balance=10.0)
        y = checkpoint(network, x, use_reentrant=reentrant) if checkpointed else network(x)
        if checkpointed and reentrant:
            with pytest.raises(RuntimeError, match="use_reentrant=False"):
                routing_loss(network)
            return
        (y.square().mean() + routing_loss(network)).backward()
        gradients.append([each.grad for each in network.parameters()])
    for value, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(value, expected)


def test_log_of_the_count_is_the_largest_z() -> None:
    assert z_loss(torch.zeros(3, 8)).item() == pytest.approx(math.log(8) ** 2)


def test_a_weight_of_zero_is_no_error() -> None:
    """As at the end of an annealing."""
    layer = MixtureOfExperts(ExpertMLP(4, 8), 3, 2, router=TopKRouter(4, 3, 2, balance=0.01))
    assert layer.router.balance is not None
    layer.router.balance.set(0.0)
    y = layer(torch.randn(7, 4, generator=seeded(0)))
    (y.square().mean() + routing_loss(layer)).backward()
    assert routing_loss(layer) == 0
