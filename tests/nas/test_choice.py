import copy
import itertools
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from discrete_lightning.estimators import (
    GumbelRao,
    GumbelSoftmax,
    LeaveOneOut,
    ReinMax,
    Softmax,
    StraightThrough,
    StraightThroughGumbel,
)
from discrete_lightning.nas import (
    architecture_choices,
    architecture_parameters,
    derive,
    expected_loss,
    hold_architecture,
    one_draw,
    weight_parameters,
)
from discrete_lightning.nn import ArchitectureChoice, OneOf
from tests.ranks import run_on_ranks


def make(count: int = 3, options: int = 4, seed: int = 0, estimator: object = None) -> ArchitectureChoice:
    torch.manual_seed(seed)
    choice = ArchitectureChoice([f"o{i}" for i in range(options)], count, estimator)  # type: ignore[arg-type]
    with torch.no_grad():
        choice.logits.normal_()
    return choice


def test_draws_are_a_function_of_seed_and_number() -> None:
    one, other = make(), make()
    torch.manual_seed(99)  # the default generator has no part in it
    assert [one.draw().indices for _ in range(8)] == [other.draw().indices for _ in range(8)]
    state = copy.deepcopy(one.state_dict())
    expected = [one.draw().indices for _ in range(8)]
    resumed = make(seed=5)
    resumed.load_state_dict(state)
    assert [resumed.draw().indices for _ in range(8)] == expected


def test_draws_follow_the_probabilities() -> None:
    """Chi-squared over 4,000 draws of one choice of four: 16.27 is the 0.1 % quantile of 3 degrees of freedom."""
    choice = make(count=1)
    counts = torch.zeros(4)
    for _ in range(4000):
        counts[choice.draw(gradient=False).indices[0]] += 1
    expected = 4000 * torch.softmax(choice.logits.detach()[0], 0)
    assert float(((counts - expected).square() / expected).sum()) < 16.27


def test_one_draw_is_shared_and_ends() -> None:
    choice = make()
    with one_draw(choice):
        assert torch.equal(choice(), choice())
        assert choice().requires_grad
    with one_draw(choice, gradient=False):
        assert not choice().requires_grad
    assert len({tuple(choice.current().indices) for _ in range(20)}) > 1


def test_eval_is_the_mode_and_draws_nothing() -> None:
    choice = make().eval()
    before = choice.draws
    assert choice.current().indices == choice.logits.argmax(1).tolist()
    assert choice.draws == before


@pytest.mark.parametrize("estimator", [LeaveOneOut(samples=3000), ReinMax(), StraightThrough(), Softmax()], ids=repr)
def test_expected_loss_has_the_exact_gradient_of_a_linear_loss(estimator: object) -> None:
    """Of a loss linear in each sample all of these are exact in the mean; tolerance 5 standard errors at most."""
    choice = make(count=2, options=3, estimator=estimator)
    weights = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    exact = torch.autograd.grad((torch.softmax(choice.logits, -1) * weights).sum(), choice.logits)[0]
    repeats = 1 if isinstance(estimator, LeaveOneOut | Softmax) else 2000
    total = torch.zeros_like(exact)
    for _ in range(repeats):
        total += torch.autograd.grad(expected_loss(choice, lambda: (choice() * weights).sum()), choice.logits)[0]
    torch.testing.assert_close(total / repeats, exact, rtol=0, atol=0.12)


def test_expected_loss_over_choices_of_different_sizes() -> None:
    torch.manual_seed(0)
    layers = torch.nn.ModuleList(
        OneOf([torch.nn.Identity() for _ in range(n)], estimator=LeaveOneOut(samples=3000)) for n in (2, 3)
    )
    costs = [torch.tensor([1.0, 2.0]), torch.tensor([0.0, 5.0, 1.0])]

    def loss() -> torch.Tensor:  # not linear: the product of both
        first, second = (layer.choice()[0] @ cost for layer, cost in zip(layers, costs, strict=True))
        return first * second

    expected_loss(layers, loss).backward()
    logits = [layer.choice.logits.detach().clone().requires_grad_() for layer in layers]
    means = [(torch.softmax(x, -1) @ cost).squeeze() for x, cost in zip(logits, costs, strict=True)]
    (means[0] * means[1]).backward()
    for layer, x in zip(layers, logits, strict=True):
        torch.testing.assert_close(layer.choice.logits.grad, x.grad, rtol=0, atol=0.25)


def test_estimators_must_agree() -> None:
    layers = torch.nn.ModuleList(
        OneOf([torch.nn.Identity()], estimator=each) for each in (ReinMax(), StraightThroughGumbel())
    )
    with pytest.raises(ValueError, match="one estimator"):
        expected_loss(layers, lambda: torch.zeros(()))


def test_mixes() -> None:
    kinds = [GumbelSoftmax(), Softmax(), ReinMax(), GumbelRao(), StraightThroughGumbel(), LeaveOneOut()]
    assert [make(estimator=kind).mixes for kind in kinds] == [True, True, False, False, False, False]


def brute_force(choice: ArchitectureChoice) -> float:
    scores, best = choice.scores(), -math.inf
    for indices in itertools.product(range(len(choice.options)), repeat=choice.count):
        if choice.cost(indices) <= choice.limit:
            best = max(best, float(scores[range(choice.count), list(indices)].sum()))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_decisions_keep_the_cost_limit(seed: int) -> None:
    choice = make(count=4, options=4, seed=seed)
    choice.costs.copy_(torch.rand(4, 4))
    choice.fixed_cost = 0.5
    cheapest = float(choice.costs.amin(1).sum()) + 0.5
    unlimited = choice.cost(choice.decide())
    choice.limit = cheapest + 0.4 * max(0.0, unlimited - cheapest) + 1e-6
    decided = choice.decide()
    assert choice.cost(decided) <= choice.limit
    found = float(choice.scores()[range(4), decided].sum())
    assert found >= brute_force(choice) - 1.0  # the exchange is greedy: near the best, not always it
    choice.limit = math.inf
    assert choice.decide() == choice.logits.argmax(1).tolist()


def test_impossible_limit() -> None:
    choice = make()
    choice.costs.fill_(2.0)
    choice.limit = 5.0
    with pytest.raises(ValueError, match=r"cost is limited to 5, .* cheapest of all choices costs 6"):
        choice.decide()


def test_expected_cost_is_the_mean_over_draws() -> None:
    choice = make(count=2, options=3)
    choice.costs.copy_(torch.tensor([[0.0, 1.0, 4.0], [2.0, 0.0, 1.0]]))
    choice.fixed_cost = 10.0
    p = torch.softmax(choice.logits.detach(), -1)
    exact = sum(float(p[0, i] * p[1, j]) * choice.cost([i, j]) for i, j in itertools.product(range(3), repeat=2))
    assert float(choice.expected_cost().detach()) == pytest.approx(exact, rel=1e-5)


def test_names_to_indices() -> None:
    choice = ArchitectureChoice(["a", "b"], 2)
    assert choice.indices(["b", "a"]) == [1, 0]
    for wrong in (["a"], ["a", "c"]):
        with pytest.raises(ValueError, match="2 of a, b"):
            choice.indices(wrong)


@pytest.mark.parametrize(("options", "count"), [([], 1), (["a"], 0), (["a", "a"], 1)])
def test_what_is_no_choice(options: list[str], count: int) -> None:
    with pytest.raises(ValueError, match="a choice needs"):
        ArchitectureChoice(options, count)


def test_parameters_are_split() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), OneOf([torch.nn.Linear(2, 2), torch.nn.Identity()]))
    chosen, rest = architecture_parameters(network), weight_parameters(network)
    assert [p.shape for p in chosen] == [(1, 2)]
    assert len(rest) == 4
    with pytest.raises(ValueError, match="holds no ArchitectureChoice"):
        architecture_choices(torch.nn.Linear(1, 1))


def test_held_indices() -> None:
    choice = make()
    with hold_architecture(choice, [[3, 0, 1]]):
        assert choice.current().indices == [3, 0, 1]


def test_logits_stay_float32() -> None:
    choice = make().to(torch.bfloat16)
    assert choice.logits.dtype == choice.costs.dtype == torch.float32


def _draws_of_a_rank() -> list[list[int]]:
    import torch.distributed as dist

    choice = make(seed=dist.get_rank())  # another seed on each rank, and another place in the sequence
    with torch.no_grad():
        choice.logits.zero_()
    choice.draws += dist.get_rank()
    return [choice.draw().indices for _ in range(10)]


def test_all_ranks_draw_the_same() -> None:
    first, second = run_on_ranks(_draws_of_a_rank)
    assert first == second


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("how", ["free", "one draw"])
def test_activation_checkpointing_runs_the_same_option_again(reentrant: bool, how: str) -> None:
    def gradients(checkpointed: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        layers = torch.nn.Sequential(*(OneOf([torch.nn.Linear(4, 4) for _ in range(4)]) for _ in range(6)))
        x = torch.randn(3, 4, requires_grad=True)
        with one_draw(layers) if how == "one draw" else nullcontext():
            y = x
            for layer in layers:  # each recomputed on its own, while gradients are computed
                y = checkpoint(layer, y, use_reentrant=reentrant) if checkpointed else layer(y)
        y.square().sum().backward()
        found = [each for each in layers.parameters() if each.requires_grad]
        return [x.grad, *(each.grad if each.grad is not None else torch.zeros_like(each) for each in found)]

    for plain, again in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(again, plain)


def test_a_fixed_seed_in_every_step_draws_anew() -> None:
    """The number that recomputation knows a draw by repeats, the draw does not."""
    layer = OneOf([torch.nn.Identity() for _ in range(16)])
    drawn = set()
    for _ in range(20):
        torch.manual_seed(0)
        drawn.add(layer.choice.current().indices[0])
    assert len(drawn) > 5


def test_expected_loss_of_the_decision_in_eval_draws_nothing() -> None:
    choice = make(estimator=LeaveOneOut(4)).eval()
    decided = [choice.decide()]
    before = choice.draws
    assert float(expected_loss(choice, lambda: choice().argmax(-1).double().sum())) == sum(decided[0])
    assert choice.draws == before


def test_expected_loss_refuses_two_temperatures() -> None:
    hot, cold = OneOf([torch.nn.Identity()] * 2, temperature=10.0), OneOf([torch.nn.Identity()] * 2, temperature=0.01)
    with pytest.raises(ValueError, match=r"there are 2 \(of 0.01, 10\)"):
        expected_loss(torch.nn.Sequential(hot, cold), lambda: hot(torch.zeros(1)).sum())


def test_derive_while_a_draw_is_held() -> None:
    layer = OneOf([torch.nn.Linear(2, 2), torch.nn.Identity()])
    with one_draw(layer):
        drawn = layer.choice.current().indices[0]
        assert type(derive(layer)) is type(layer.options[drawn])


def _step(choice: ArchitectureChoice) -> None:
    optimizer = torch.optim.SGD(choice.parameters(), lr=50.0)
    choice.logits.grad = torch.eye(3, 4)
    optimizer.step()


def _load(choice: ArchitectureChoice) -> None:
    choice.load_state_dict(make(seed=3).state_dict())


def _swap(choice: ArchitectureChoice) -> None:
    """As Lightning's WeightAveraging does, through `.data`, which no version counter sees."""
    choice.logits.data.copy_(make(seed=4).logits.data)


# Each makes another decision
CHANGES: list[Callable[[ArchitectureChoice], object]] = [
    lambda choice: choice.logits.data[0].copy_(torch.tensor([9.0, 0.0, 0.0, 0.0])),
    lambda choice: setattr(choice, "limit", 20.0),
    lambda choice: choice.costs.mul_(1.2),
    lambda choice: setattr(choice, "fixed_cost", 1.0),
    lambda choice: setattr(choice, "limit", math.inf),
    _step,
    _load,
    _swap,
    lambda choice: setattr(choice, "logits", torch.nn.Parameter(make(seed=5).logits.detach())),
    lambda choice: setattr(choice.logits, "data", make(seed=6).logits.detach()),
]


@pytest.mark.parametrize("inference", [False, True])
def test_a_pass_in_eval_decides_once(monkeypatch: pytest.MonkeyPatch, inference: bool) -> None:
    asked: list[int] = []
    decide = ArchitectureChoice.decide
    monkeypatch.setattr(ArchitectureChoice, "decide", lambda self: asked.append(1) or decide(self))  # type: ignore[func-returns-value]
    choice = make(count=3).eval()
    choice.costs.copy_(torch.arange(12.0).view(3, 4))
    layers = torch.nn.Sequential(*(OneOf([torch.nn.Identity()] * 4, choice, row % 3) for row in range(6))).eval()
    with torch.inference_mode(inference):
        layers(torch.zeros(2))
    layers(torch.zeros(2))
    choice.to(torch.bfloat16)
    layers.to("cpu")(torch.zeros(2))
    assert len(asked) == 1
    for count, change in enumerate(CHANGES, start=2):
        change(choice)
        with torch.inference_mode(inference):
            layers(torch.zeros(2))
        layers(torch.zeros(2))
        assert len(asked) == count
        assert choice.current().indices == decide(choice)
        assert copy.deepcopy(choice).current().indices == decide(choice)
        del asked[count:]  # that of the copy


def test_what_is_returned_is_not_kept() -> None:
    choice = make().eval()
    expected = choice.decide()
    choice().zero_()
    choice.current().indices.clear()
    assert choice.current().indices == choice().argmax(-1).tolist() == expected


def test_weight_averaging_leaves_noise_and_limit_alone() -> None:
    """A mean of two equal limits of inf would be NaN, and that of a seed another seed."""
    choice = make()
    average = AveragedModel(choice, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(3):
        choice.draw()
        average.update_parameters(choice)
    assert (choice.seed, choice.draws, choice.limit) == (make().seed, 3, math.inf)
    assert (average.module.seed, average.module.limit) == (choice.seed, math.inf)
    for averaged, own in zip(average.module.buffers(), choice.buffers(), strict=True):
        own.data.copy_(averaged.data)
    assert choice.eval().current().indices == choice.logits.argmax(1).tolist()


def test_a_checkpoint_of_an_earlier_version() -> None:
    choice = make(seed=1)
    logits = torch.rand(3, 4)
    old = {"logits": logits, "seed": torch.tensor(2**61 + 1), "draws": torch.tensor(7), "limit": torch.tensor(9.0)}
    old |= {"costs": torch.ones(3, 4), "fixed_cost": torch.tensor(2.5), "sampler.temperature.value": torch.tensor(0.5)}
    network = torch.nn.Sequential(choice, OneOf([torch.nn.Identity()] * 4, choice))
    saved = {f"{name}.{key}": value for name in ("0", "1.choice") for key, value in old.items()}
    assert network.load_state_dict(saved) == ([], [])
    assert (choice.seed, choice.draws, choice.fixed_cost, choice.limit) == (2**61 + 1, 7, 2.5, 9.0)
    assert torch.equal(choice.logits, logits)
    assert len(saved) == 14


def test_reset_after_a_meta_device_init() -> None:
    with torch.device("meta"):
        choice = ArchitectureChoice(["a", "b"], 3)
    choice.to_empty(device="cpu").reset_parameters()
    assert not choice.logits.any()
    assert not choice.costs.any()


class Reads(TorchDispatchMode):
    """Counts the values of tensors that Python reads."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_layers_read_no_values_of_a_shared_draw() -> None:
    choice = make(count=3)
    layers = torch.nn.Sequential(*(OneOf([torch.nn.Identity()] * 4, choice, row % 3) for row in range(6)))
    with one_draw(layers), Reads() as reads:
        layers(torch.zeros(2))
    assert not reads.count
