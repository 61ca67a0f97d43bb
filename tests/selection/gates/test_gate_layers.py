"""What every layer of gates does: where gates are put, eval(), decisions, dtypes, copies, compilers, errors."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from discrete_lightning.estimators import DisARM, GumbelSoftmax, LeaveOneOut
from discrete_lightning.layers.recorded import made, recorded
from discrete_lightning.layers.use_estimator import use_estimator
from discrete_lightning.selection import Gate, HardConcrete, SelectK, StochasticGate, gate_of
from tests.references import gates as reference
from tests.references.inputs import seeded
from tests.selection.gates.makers import ALL, GATES, each_gate, each_of_all, location

OPEN = torch.tensor([True, False, True, True, False, False])
# shape of x, dim, width: features, tokens, images, channels from behind, heads, heads of one row, no rows at all
PLACES = [
    ((5, 6), -1, 1), ((2, 3, 6), -1, 1), ((2, 6, 4, 3), 1, 1), ((2, 6, 4, 3), -3, 1), ((2, 3, 12), -1, 2),
    ((2, 12, 3), 1, 2), ((1, 6), 1, 1), ((0, 6), -1, 1),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("per", ["row", "batch"])
@each_gate
def test_where_gates_are_put(name: str, per: str, place: tuple[tuple[int, ...], int, int]) -> None:
    shape, dim, width = place
    gate, x = GATES[name](6, dim=dim, per=per, width=width), torch.randn(shape, generator=seeded(0))
    torch.manual_seed(1)
    y = gate(x)
    torch.manual_seed(1)
    z = gate.sample(shape[:1] if per == "row" else ())
    assert z.shape == ((shape[0], 6) if per == "row" else (6,))
    torch.testing.assert_close(y, reference.placed(z.detach(), x, dim, width))
    gate.decide(OPEN)
    assert torch.equal(gate.eval()(x), reference.placed(OPEN.float(), x, dim, width))


@each_gate
def test_one_row_without_a_dimension_of_rows(name: str) -> None:
    for per in ("row", "batch"):
        gate, x = GATES[name](6, per=per), torch.randn(6, generator=seeded(0))
        torch.manual_seed(1)
        y = gate(x)
        torch.manual_seed(1)
        torch.testing.assert_close(y, x * gate.sample(()))


@each_gate
def test_rows_have_their_own_draws_unless_the_batch_has_one(name: str) -> None:
    x = torch.ones(50, 6)
    torch.manual_seed(0)
    assert len(GATES[name](6)(x).unique(dim=0)) > 5
    assert len(GATES[name](6, per="batch")(x).unique(dim=0)) == 1


def test_the_rows_may_not_be_gated_with_a_draw_each() -> None:
    x = torch.randn(6, 4)
    for gate in (Gate(6, dim=0), Gate(6, dim=-2)):
        with pytest.raises(ValueError, match=r"gates dimension 0, which holds the rows .* per='batch'"):
            gate(x)
    gate = Gate(6, dim=0, per="batch")
    gate.decide(OPEN)
    assert torch.equal(gate.eval()(x), x * OPEN.unsqueeze(1))


@each_of_all
def test_eval_before_a_decision_opens_what_has_a_positive_score(name: str) -> None:
    gate, x = ALL[name](6).eval(), torch.rand(3, 6) + 1
    with torch.no_grad():
        location(gate).copy_(torch.tensor([0.6, -0.2, 1.4, 0.7, -1.0, -3.0]))
    assert gate.open().tolist() == (gate.scores() > 0).tolist() == OPEN.tolist()
    assert torch.equal(gate(x), x * OPEN)
    assert torch.equal(gate(x), gate(x))
    gate.decide()
    with torch.no_grad():
        location(gate).neg_()
    assert torch.equal(gate(x), x * OPEN)  # what was decided stays
    gate.undecide()
    assert (gate.decision == -1).all()
    assert not torch.equal(gate(x), x * OPEN)
    assert torch.equal(gate(x), gate(x))


@each_of_all
def test_eval_is_0_or_1_and_needs_no_noise(name: str) -> None:
    gate, x = ALL[name](6).eval(), torch.ones(40, 6)
    before = torch.get_rng_state()
    y = gate(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(y.unique().tolist()) <= {0.0, 1.0}
    assert len(y.unique(dim=0)) == 1
    assert torch.equal(gate.draw(x), y)
    assert torch.equal(gate.expectation(lambda gated: gated.sum(-1), x), y.sum(-1))


@each_of_all
def test_a_held_decision_is_used_in_training(name: str) -> None:
    gate, x = ALL[name](6), torch.randn(4, 6, generator=seeded(0)).requires_grad_()
    gate.decide(OPEN, hold=True)
    before = torch.get_rng_state()
    for y in (gate(x), gate.draw(x)):
        assert torch.equal(y, x * OPEN)
    losses = gate.expectation(lambda gated: gated.sum(-1), x)
    torch.testing.assert_close(losses, (x * OPEN).sum(-1))
    assert torch.equal(torch.get_rng_state(), before)
    reached: list[Any] = []
    location(gate).register_hook(reached.append)
    losses.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, OPEN.float().expand(4, 6))
    assert location(gate).grad is None or not location(gate).grad.any()
    gate.decide(~OPEN)
    assert not gate.held
    gate.undecide()
    assert len(gate.draw(torch.ones(50, 6)).unique(dim=0)) > 1


@each_of_all
def test_draw_has_no_gradient(name: str) -> None:
    y = ALL[name](6).draw(torch.ones(3, 6, requires_grad=True))
    assert not y.requires_grad


@each_gate
def test_draw_is_what_forward_draws(name: str) -> None:
    gate, x, found = GATES[name](6), torch.rand(20, 6), []
    for call in (gate, gate.draw):
        torch.manual_seed(3)
        found.append(call(x).detach())
    assert torch.equal(*found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@each_gate
def test_dtypes(name: str, dtype: torch.dtype) -> None:
    """Results are of the input's dtype; gates and draws are float32 also in a network that was cast."""
    gate = GATES[name](6).to(dtype)
    assert location(gate).dtype == torch.float32
    x = torch.ones(300, 6, dtype=dtype)
    torch.manual_seed(0)
    y = gate(x)
    torch.manual_seed(0)
    assert y.dtype == dtype
    assert torch.equal(y, gate(x.float()).to(dtype))
    assert gate.gates(x).dtype == gate.open_probability().dtype == gate.scores().dtype == torch.float32
    assert gate.draw(x).dtype == gate.eval()(x).dtype == dtype
    assert gate.decision.dtype == torch.int8


@each_of_all
def test_a_state_dict_holds_the_decision(name: str) -> None:
    gate, other = ALL[name](6), ALL[name](6)
    if isinstance(gate, SelectK):
        gate.set_k(5)
    gate.decide(OPEN, hold=True)
    other.load_state_dict(gate.state_dict())
    assert other.held is True
    assert torch.equal(other.decision, gate.decision)
    assert torch.equal(location(other), location(gate))
    if isinstance(other, SelectK):
        assert other.k == 5
    assert not dict(gate.named_buffers(recurse=False))
    with pytest.raises(RuntimeError, match="decision"):
        other.load_state_dict({key: each for key, each in gate.state_dict().items() if key != "decision"})
    with pytest.raises(RuntimeError, match=r"size mismatch for decision: \(6,\) saved, \(5,\) here"):
        ALL[name](5).load_state_dict(gate.state_dict())


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda gate: pickle.loads(pickle.dumps(gate))])
@each_of_all
def test_copies(name: str, twin_of: Callable[[Any], Any]) -> None:
    gate, x = ALL[name](6, per="batch"), torch.rand(3, 6)
    gate.decide(OPEN, hold=True)
    twin = twin_of(gate)
    gate.undecide()
    assert twin.held
    assert torch.equal(twin(x), x * OPEN)
    assert torch.equal(twin.eval()(x), x * OPEN)
    twin.undecide()
    assert torch.equal(location(twin), location(gate))
    found = []
    for each in (gate.train(), twin.train()):
        torch.manual_seed(0)
        found.append(each.draw(x))
    assert torch.equal(*found)


@pytest.mark.parametrize(
    "make",
    [
        *(lambda name=name: ALL[name](6, per="batch", dim=1, width=2) for name in ALL),
        lambda: Gate(6, start=0.6, temperature=0.4),
        lambda: HardConcrete(6, beta=0.5, gamma=-0.2, zeta=1.2, drop=0.2),
        lambda: StochasticGate(6, sigma=0.3),
        lambda: SelectK(2, 6, temperature=0.4),
    ],
)
def test_a_layer_is_made_again_from_plain_data(make: Callable[[], Any]) -> None:
    gate = make()
    twin = made(recorded(gate))
    assert type(twin) is type(gate)
    assert recorded(twin) == recorded(gate)
    for attribute in ("size", "dim", "per", "width", "k", "beta", "gamma", "zeta", "drop", "sigma", "start"):
        assert getattr(twin, attribute, None) == getattr(gate, attribute, None)
    if hasattr(gate, "sampler"):
        assert twin.sampler.estimator == gate.sampler.estimator
        assert torch.equal(twin.sampler.temperature(), gate.sampler.temperature())
    twin.load_state_dict(gate.state_dict())


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("name", ["Gate", "HardConcrete", "StochasticGate", "SelectK"])
def test_compiled(name: str) -> None:
    """In one graph: a held decision, eval(), and a gradient of draws, whose values tests/harness compares."""
    gate, x = GATES[name](6), torch.randn(4, 6, generator=seeded(0))
    torch._dynamo.reset()
    compiled = torch.compile(gate, backend="aot_eager", fullgraph=True)
    (slope,) = torch.autograd.grad(compiled(x).square().sum(), location(gate))
    assert slope.isfinite().all()
    assert slope.any()
    gate.decide(OPEN, hold=True)
    assert torch.equal(compiled(x), x * OPEN)
    gate.eval()
    assert torch.equal(compiled(x), x * OPEN)
    gate.decide(~OPEN)
    assert torch.equal(compiled(x), x * ~OPEN)


def test_gates_by_word() -> None:
    assert isinstance(gate_of("stochastic", 3, per="batch"), StochasticGate)
    assert isinstance(gate_of("hard_concrete", 3, drop=0.2), HardConcrete)
    subset = gate_of("select_k", 3)
    assert isinstance(subset, SelectK)
    assert subset.k == subset.size == 3
    assert gate_of("DisARM", 3).sampler.estimator == gate_of(DisARM(), 3).sampler.estimator == DisARM()  # type: ignore[union-attr]
    layer = Gate(3)
    assert gate_of(layer, 3) is layer


def test_another_estimator_and_temperature() -> None:
    """What acts on all relaxed layers of a network acts on gates."""
    network = torch.nn.ModuleList([Gate(3), SelectK(2, 3)])
    use_estimator(network, LeaveOneOut())
    for gate in network:
        with pytest.raises(TypeError, match="needs the loss's value"):
            gate(torch.ones(2, 3))
        assert gate.expectation(lambda gated: gated.sum(-1), torch.ones(2, 3)).shape == (2,)
    use_estimator(network, GumbelSoftmax())
    for gate in network:
        gate.sampler.temperature.set(5.0)
        assert (gate(torch.ones(200, 3)).std(0) < 0.25).all()
        gate.sampler.temperature.set(0.05)
        assert gate(torch.ones(200, 3))[:, 1].unique().numel() > 2


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no gates": (lambda: Gate(0), "size must be at least 1, got 0"),
    "no width": (lambda: Gate(3, width=0), "width must be at least 1, got 0"),
    "per": (lambda: HardConcrete(3, per="sample"), "per must be 'row' or 'batch', got 'sample'"),  # type: ignore[arg-type]
    "start 0": (lambda: Gate(3, start=0.0), r"in \(0, 1\), got 0.0"),
    "start 1": (lambda: Gate(3, start=1), r"in \(0, 1\), got 1"),
    "drop": (lambda: HardConcrete(3, drop=1.0), r"drop is a rate in \(0, 1\), got 1.0"),
    "stretch": (lambda: HardConcrete(3, gamma=0.0), "gamma=0.0"),
    "sigma": (lambda: StochasticGate(3, sigma=0), "sigma must be positive"),
    "k 0": (lambda: SelectK(0, 3), "k is the number of open gates, 1 to 3 of 3, got 0"),
    "k > D": (lambda: SelectK(4, 3), "k is the number of open gates, 1 to 3 of 3, got 4"),
    "set_k": (lambda: SelectK(2, 3).set_k(4), "1 to 3 of 3, got 4"),
    "binary alone": (lambda: SelectK(2, 3, DisARM()), "DisARM.* is for binary variables"),
    "x": (lambda: Gate(3)(torch.ones(2, 4)), r"Gate gates 3 entries in dimension -1, and x has shape \(2, 4\)"),
    "x in eval": (lambda: SelectK(1, 3).eval()(torch.ones(2, 4)), r"x has shape \(2, 4\): change size, width or dim"),
    "heads": (lambda: StochasticGate(3, width=2)(torch.ones(2, 3)), r"gates 6 entries .* x has shape \(2, 3\)"),
    "dim": (lambda: HardConcrete(3, dim=2)(torch.ones(2, 3)), r"in dimension 2, and x has shape \(2, 3\)"),
    "no dimension": (lambda: Gate(1)(torch.tensor(1.0)), r"x has shape \(\)"),
    "draw": (lambda: Gate(3, DisARM()).draw(torch.ones(4)), r"x has shape \(4,\)"),
    "expectation": (lambda: SelectK(1, 3).expectation(torch.sum, torch.ones(2, 4)), r"x has shape \(2, 4\)"),
    "decision": (lambda: Gate(3).decide(torch.ones(3)), r"decide takes bool \(3,\), got torch.float32 \(3,\)"),
    "shape": (lambda: Gate(3).decide(torch.tensor([True])), r"decide takes bool \(3,\), got torch.bool \(1,\)"),
    "word": (lambda: gate_of("gumbel", 3), "gate must be one of stochastic, .*, select_k, .* got 'gumbel'"),
    "base": (lambda: gate_of("Estimator", 3), "got 'Estimator'"),
    "layer": (lambda: gate_of(Gate(3), 4), "a Gate of 3 gates was given, and 4 are needed"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_errors_are_one_line(what: str) -> None:
    call, told = WRONG[what]
    with pytest.raises(ValueError, match=told) as error:
        call()
    assert "\n" not in str(error.value)
