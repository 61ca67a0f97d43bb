import copy
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from discrete_lightning import distributed
from discrete_lightning.estimators import GumbelSoftmax, LeaveOneOut, ReinMax, Softmax, StraightThroughGumbel
from discrete_lightning.nas import (
    derive,
    expected_loss,
    hold_architecture,
    is_disconnected,
    one_draw,
    skip_share,
    weight_parameters,
)
from discrete_lightning.nas.operations import Zero
from discrete_lightning.nn import ArchitectureChoice, OneOf
from tests.ranks import run_on_ranks


class Counting(nn.Module):
    """A linear layer that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls = nn.Linear(4, 4), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(x)


def counted(layer: OneOf) -> list[int]:
    return [option.calls for option in layer.options]  # type: ignore[misc]


@pytest.mark.parametrize("estimator", [StraightThroughGumbel(), ReinMax()], ids=repr)
def test_only_the_chosen_runs_and_learns(estimator: object) -> None:
    torch.manual_seed(0)
    layer = OneOf([Counting() for _ in range(5)], estimator=estimator)  # type: ignore[arg-type]
    x = torch.randn(3, 4)
    for step in range(1, 11):
        layer.zero_grad(set_to_none=True)
        layer(x).square().sum().backward()
        assert sum(counted(layer)) == step
    with_gradient = [any(p.grad is not None for p in option.parameters()) for option in layer.options]
    assert sum(with_gradient) == 1
    assert layer.choice.logits.grad is not None
    assert layer.choice.logits.grad.abs().sum() > 0


def test_single_path_output_is_the_chosen_ones_own() -> None:
    torch.manual_seed(0)
    layer = OneOf([nn.Linear(4, 4) for _ in range(3)])
    x = torch.randn(2, 4)
    with one_draw(layer):
        index = layer.choice.current().indices[0]
        assert torch.equal(layer(x), layer.options[index](x))


def test_gradient_of_one_path_is_that_of_the_sample() -> None:
    """d loss / d logits = (d sample / d logits)^T (0, .., <dloss/dy, f_k(x)>, .., 0)."""
    torch.manual_seed(0)
    layer = OneOf([nn.Linear(4, 4) for _ in range(3)], temperature=0.7)
    x = torch.randn(2, 4)
    with one_draw(layer):
        sample = layer.choice()
        k = layer.choice.current().indices[0]
        layer(x).pow(3).sum().backward(retain_graph=True)
    y = layer.options[k](x).detach()
    upstream = torch.zeros(1, 3)
    upstream[0, k] = (3 * y.pow(2) * y).sum()
    expected = torch.autograd.grad(sample, layer.choice.logits, upstream)[0]
    torch.testing.assert_close(layer.choice.logits.grad, expected)


@pytest.mark.parametrize("estimator", [Softmax(), GumbelSoftmax()], ids=repr)
def test_mixtures_run_all(estimator: object) -> None:
    layer = OneOf([Counting() for _ in range(3)], estimator=estimator)  # type: ignore[arg-type]
    x = torch.randn(2, 4)
    with one_draw(layer):
        weights = layer.choice()[0]
        y = layer(x)
        expected = sum(w * option.linear(x) for w, option in zip(weights, layer.options, strict=True))  # type: ignore[misc,operator]
    assert counted(layer) == [1, 1, 1]
    torch.testing.assert_close(y, expected)


def test_single_path_of_mixtures_is_refused() -> None:
    layer = OneOf([nn.Identity()], estimator=GumbelSoftmax(), single_path=True)
    with pytest.raises(ValueError, match="one-hot"):
        layer(torch.zeros(1))


def test_leave_one_out_serves_by_expectation_alone() -> None:
    layer = OneOf([Counting(), Counting()], estimator=LeaveOneOut(samples=3))
    with pytest.raises(TypeError, match="expectation"):
        layer(torch.zeros(1, 4))
    expected_loss(layer, lambda: layer(torch.ones(1, 4)).sum()).backward()
    assert sum(counted(layer)) == 3


def test_eval_runs_the_likeliest() -> None:
    layer = OneOf([Counting() for _ in range(3)]).eval()
    with torch.no_grad():
        layer.choice.logits[0, 2] = 1.0
    layer(torch.zeros(1, 4))
    assert counted(layer) == [0, 0, 1]


def test_shared_choice_makes_one_draw_for_all() -> None:
    torch.manual_seed(0)
    choice = ArchitectureChoice(["a", "b", "c"], count=2)
    cells = nn.ModuleList(OneOf([Counting() for _ in range(3)], choice, row=1) for _ in range(4))
    for _ in range(5):
        before = [counted(cell) for cell in cells]  # type: ignore[arg-type]
        with one_draw(cells):
            for cell in cells:
                cell(torch.zeros(1, 4))
        ran = [
            [now - then for now, then in zip(counted(cell), old, strict=True)]  # type: ignore[arg-type]
            for cell, old in zip(cells, before, strict=True)
        ]
        assert all(each == ran[0] for each in ran)
    assert len(list(cells.parameters())) == 1 + 4 * 3 * 2  # the logits once


def test_derive_keeps_weights_and_is_plain() -> None:
    torch.manual_seed(0)
    choice = ArchitectureChoice(["linear", "same"], count=2)
    network = nn.Sequential(
        OneOf([nn.Linear(4, 4), nn.Identity()], choice, 0),
        nn.ReLU(),
        OneOf([nn.Sequential(OneOf([nn.Linear(4, 4), nn.Tanh()])), nn.Identity()], choice, 1),
    )
    x = torch.randn(3, 4)
    with torch.no_grad():
        choice.logits[0, 0] = choice.logits[1, 0] = 1.0
    network.eval()
    result = derive(network)
    assert not [each for each in result.modules() if isinstance(each, OneOf | ArchitectureChoice)]
    assert torch.equal(result(x), network(x))
    assert torch.equal(result[0].weight, network[0].options[0].weight)  # type: ignore[index,union-attr]
    assert result[0].weight is not network[0].options[0].weight  # type: ignore[index,union-attr]
    with hold_architecture(network, [[1, 1], [0]]):
        assert isinstance(derive(network)[0], nn.Identity)  # type: ignore[index]
    assert isinstance(derive(network[0]), nn.Linear)
    assert derive(network.train()).training


class Branches(nn.Module):
    """One OneOf used under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one = OneOf([nn.Linear(2, 2), nn.Identity()])
        self.same = self.one


def test_derive_keeps_sharing() -> None:
    result = derive(Branches())
    assert result.one is result.same
    assert isinstance(result.one, nn.Linear)


def test_errors() -> None:
    with pytest.raises(ValueError, match="one module or more"):
        OneOf([])
    with pytest.raises(ValueError, match="2 modules and row 0; its choice has 1 rows of 3"):
        OneOf([nn.Identity(), nn.Tanh()], ArchitectureChoice(["a", "b", "c"]))
    with pytest.raises(ValueError, match="has its own estimator"):
        OneOf([nn.Identity()], ArchitectureChoice(["a"]), estimator=ReinMax())
    with pytest.raises(TypeError, match="one tensor"):
        OneOf([nn.LSTM(2, 2)])(torch.zeros(1, 1, 2))


@pytest.mark.parametrize("estimator", [Softmax(), StraightThroughGumbel()], ids=repr)
def test_options_of_different_shape(estimator: object) -> None:
    torch.manual_seed(0)
    layer = OneOf([nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 3, stride=2)], estimator=estimator)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"one shape: .*conv2d0 makes .*conv2d1 makes"):  # noqa: PT012
        for _ in range(40):  # the first draw of the other one
            layer(torch.zeros(1, 1, 8, 8))


def test_default_names() -> None:
    assert OneOf([nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1)]).choice.options == ("linear0", "tanh", "linear2")


def test_learns_the_better_option() -> None:
    """Which of two functions made the data: found by every kind of sample within 150 steps."""
    x = torch.linspace(-2, 2, 64).unsqueeze(1)

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square()

    for estimator in (StraightThroughGumbel(), ReinMax(), Softmax(), GumbelSoftmax(), LeaveOneOut(4)):
        torch.manual_seed(0)
        layer = OneOf([nn.Tanh(), Square(), nn.Identity()], estimator=estimator)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        for _ in range(150):
            optimizer.zero_grad()
            expected_loss(layer, lambda layer=layer: (layer(x) - x.square()).square().mean()).backward()  # type: ignore[misc]
            optimizer.step()
        assert layer.choice.decide() == [1], estimator


def _train_under_ddp() -> list[Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), OneOf([nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)]))
    wrapped = DistributedDataParallel(network, find_unused_parameters=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    data = torch.Generator().manual_seed(torch.distributed.get_rank())
    for _ in range(6):
        optimizer.zero_grad()
        wrapped(torch.randn(8, 4, generator=data)).square().mean().backward()
        optimizer.step()
    return [each.detach().clone() for each in network.parameters()]


def test_two_ranks_under_ddp_stay_equal() -> None:
    first, second = run_on_ranks(_train_under_ddp)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.manual_seed(0)
    start = nn.Sequential(nn.Linear(4, 4), OneOf([nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)]))
    assert any(not torch.equal(a, b) for a, b in zip(first, start.parameters(), strict=True))


def test_deep_copy_draws_on() -> None:
    layer = OneOf([nn.Tanh(), nn.Identity(), nn.ReLU()])
    other = copy.deepcopy(layer)
    assert [layer.choice.draw().indices for _ in range(6)] == [other.choice.draw().indices for _ in range(6)]
    assert weight_parameters(layer) == []


def test_a_held_decision_runs_alone_also_where_samples_are_mixtures() -> None:
    ran: list[int] = []
    layer = OneOf([nn.Identity(), nn.Tanh(), nn.ReLU()], estimator=Softmax())
    for index, option in enumerate(layer.options):
        option.register_forward_hook(lambda *_, i=index: ran.append(i))
    with hold_architecture(layer, [[1]]):
        assert torch.equal(layer(torch.ones(2)), torch.tanh(torch.ones(2)))
    assert ran == [1]


def test_skips_and_nothing_connected() -> None:
    def network(*decided: nn.Module) -> nn.Module:
        return nn.Sequential(*(OneOf([each, nn.Tanh()]) for each in decided))

    assert skip_share(network(nn.Identity(), nn.Linear(2, 2))) == 0.5
    assert skip_share(network(nn.Identity(), Zero(2))) == 1.0
    assert not is_disconnected(network(nn.Identity(), Zero(2)))
    assert is_disconnected(network(Zero(2), Zero(2)))
    assert skip_share(network(Zero(2))) == 0.0


class Heads(nn.Linear):
    """Has methods whose names resemble that of the method that derive calls."""

    def prune(self) -> None:
        self.weight.data.zero_()


class Sparse(nn.Linear):
    def prune(self, amount: float) -> None:
        raise AssertionError


class Shrinks(nn.Sequential):
    def prune_after_derive(self) -> None:
        del self[1]


def test_derive_leaves_a_users_prune_alone() -> None:
    derived = derive(nn.Sequential(Heads(4, 4), Sparse(4, 4), OneOf([nn.Identity(), nn.Tanh()])))
    assert derived[0].weight.abs().sum() > 0


def test_derive_prunes_what_offers_it() -> None:
    network = nn.Sequential(Shrinks(nn.Linear(4, 4), OneOf([nn.Identity()])))
    derived = derive(network)
    assert len(derived[0]) == 1
    assert len(network[0]) == 2


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own, traced
def test_a_compiled_layer_runs_what_an_eager_one_does() -> None:
    """Free and shared draws, given architectures, decisions that change through `.data`."""
    torch.manual_seed(0)
    layer, x = OneOf([nn.Linear(4, 4), nn.Tanh(), nn.Identity()]), torch.randn(3, 4)
    compiled = torch.compile(layer, backend="eager")
    for step in range(6):
        number = layer.choice.draws
        found = compiled(x)
        assert layer.choice.draws == number + 1
        layer.choice.draws = number
        assert torch.equal(found, layer(x))
        with one_draw(layer):
            assert torch.equal(compiled(x), layer(x))
        with hold_architecture(layer, [[step % 3]]):
            assert torch.equal(compiled(x), layer.options[step % 3](x))
    layer.eval()
    for index in (2, 0, 1):
        layer.choice.logits.data.zero_()[0, index] = 1.0
        assert torch.equal(compiled(x), layer.options[index](x))


class Failed(Exception):
    """Raised in the middle of a pass."""


@pytest.mark.parametrize("shared", [one_draw, lambda layer: hold_architecture(layer, [[1]])], ids=["drawn", "given"])
def test_an_exception_ends_a_shared_draw(shared: Callable[[nn.Module], AbstractContextManager[None]]) -> None:
    layer = OneOf([nn.Identity(), nn.Tanh()])
    with one_draw(layer):
        outer = layer.choice.current()
        with pytest.raises(Failed), shared(layer):
            raise Failed
        assert layer.choice.current() is outer
    with pytest.raises(Failed), shared(layer):
        raise Failed
    assert layer.choice.current() is not layer.choice.current()

    def loss() -> Tensor:
        raise Failed

    with pytest.raises(Failed):
        expected_loss(layer, loss)
    assert layer.choice.current() is not layer.choice.current()


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["copy", "pickle"]
)
def test_a_duplicate_made_in_a_shared_draw_uses_it(duplicate: Callable[[OneOf], OneOf]) -> None:
    layer = OneOf([nn.Linear(4, 4) for _ in range(8)], estimator=ReinMax())
    x = torch.randn(2, 4)
    with one_draw(layer):
        y = layer(x)
        other = duplicate(layer)
        assert torch.equal(other(x), y)
    assert other.choice.draws == layer.choice.draws
    assert layer.choice.seed == other.choice.seed


def _skipped_on_one_rank() -> tuple[list[Tensor], list[int]]:
    """Of two layers rank 1 does not reach the second in one step; all draw the same, by number, in shared draws."""
    torch.manual_seed(distributed.rank())
    network = nn.ModuleList(OneOf([nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)]) for _ in range(2))
    for each in network.parameters():
        distributed.broadcast_(each.data)
    optimizer, ran = torch.optim.SGD(network.parameters(), lr=0.1), []
    for step in range(4):
        optimizer.zero_grad()
        with one_draw(network):
            y = network[0](torch.ones(3, 4))
            if distributed.rank() == 0 or step != 1:
                y = network[1](y)
            y.square().mean().backward()
            ran += [layer.choice.current().indices[0] for layer in network]  # type: ignore[union-attr]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
        for parameter, gradient in zip(network.parameters(), distributed.average_over_ranks(gradients), strict=True):
            parameter.grad = gradient
        optimizer.step()
    return [each.detach().clone() for each in network.parameters()], ran


def test_a_rank_that_skips_a_layer_keeps_the_draws_equal() -> None:
    (first, ran), (second, same) = run_on_ranks(_skipped_on_one_rank)
    assert ran == same
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
