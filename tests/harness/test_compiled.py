"""torch.compile over every layer of the table."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.nn import RelaxedCategorical
from tests.harness.compiled import eager_and_compiled, on_ranks
from tests.ranks import run_on_ranks
from tests.tables.faults import cases
from tests.tables.makers import LAYERS, Layer

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:.*autograd.function.Function.* should not be instantiated"
    ),  # torch's own, traced
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),  # likewise
    pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace the builtin"),  # a generator: breaks the graph
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),  # inductor's own
]

# Graph breaks of three steps, at most; a name that is not here has none. Nearest codes are counted outside of the graph, and
# an architecture is chosen outside of it.
BREAKS = {
    "ema*": 5,
    "learned*": 5,
    "gumbel": 5,
    "product_gumbel": 7,
    "residual_gumbel": 7,
    "product_of_residuals": 9,
    "revived": 5,
    "residual_ema": 6,
    "product_learned": 7,
    "ArchitectureChoice": 2,
    "OneOf*": 3,
    "supernet": 3,
}
DRAWN_OUTSIDE = ("ArchitectureChoice", "OneOf", "OneOf_mixed", "supernet")  # of the graph: the draws of an eager run


def assert_equal_to_eager(layer: Layer, backend: str = "aot_eager", most: int = 0, noise_in_graph: bool = True) -> None:
    (expected, before), (found, after), breaks = eager_and_compiled(layer, backend, noise_in_graph=noise_in_graph)
    for step, (a, b) in enumerate(zip(expected, found, strict=True)):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5, msg=lambda text, step=step: f"step {step}: {text}")
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
    assert breaks <= most, f"{breaks} graph breaks"


@pytest.mark.parametrize("name", cases("compile", LAYERS))
def test_compiled_is_as_eager(name: str) -> None:
    """Values, gradients, and codebooks, counts and `updates` after three steps."""
    most = next((number for pattern, number in BREAKS.items() if fnmatchcase(name, pattern)), 0)
    assert_equal_to_eager(LAYERS[name], most=most, noise_in_graph=name not in DRAWN_OUTSIDE)


@pytest.mark.parametrize("name", ["finite_scalar"])
def test_compiled_by_inductor_is_as_eager(name: str) -> None:
    assert_equal_to_eager(LAYERS[name], "inductor", most=0)


# In a group of two ranks, which draw different noise. Every way of drawing is here: each estimator once, what it does for
# binary variables and subsets where that draws in its own way, and the quantisers that sample.
ON_RANKS = [
    *(name for name in LAYERS if name.startswith("RelaxedCategorical_")),
    "RelaxedBernoulli_GumbelSoftmax", "RelaxedBernoulli_GumbelRao",
    "RelaxedSubset_GumbelSoftmax", "RelaxedSubset_GumbelRao", "RelaxedSubset_SIMPLE",
    "gumbel", "large_gumbel", "residual_gumbel", "EntropyBonus", "HardConcrete", "StochasticGate",
]  # fmt: skip
WITHOUT_NOISE = ("RelaxedCategorical_Softmax", "EntropyBonus")


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, dict[str, Any]]]:
    return run_on_ranks(on_ranks, ON_RANKS)


@pytest.mark.parametrize("name", ON_RANKS)
def test_compiled_on_two_ranks(name: str, ranks: list[dict[str, dict[str, Any]]]) -> None:
    """No graph break but where codes are counted; values, gradients of an eager run from the same seed; noise of each rank."""
    one, other = (each[name] for each in ranks)
    for found in (one, other):
        assert found["breaks"] <= next((number for pattern, number in BREAKS.items() if fnmatchcase(name, pattern)), 0)
        torch.testing.assert_close(found["compiled"], found["eager"], rtol=1e-4, atol=1e-5)
    same = all(torch.equal(a, b) for a, b in zip(one["compiled"][0], other["compiled"][0], strict=True))
    assert same == (name in WITHOUT_NOISE)
    assert torch.equal(one["default"], other["default"])


class Own(Estimator):
    """Of a user, who gives the generator to torch."""

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return torch.softmax((logits + torch.randn(logits.shape, generator=generator)) / tau, -1)


def own_estimator() -> tuple[Tensor, Tensor]:
    layer = RelaxedCategorical(Own())
    torch.manual_seed(0)
    eager = layer(torch.zeros(3, 4))
    torch.manual_seed(0)
    return eager, torch.compile(layer, backend="eager")(torch.zeros(3, 4))


def test_an_estimator_of_one_s_own_draws_as_in_an_eager_run() -> None:
    (first, compiled), (second, _) = run_on_ranks(own_estimator)
    torch.testing.assert_close(compiled, first)
    assert not torch.equal(first, second)


# The harness can fail


class Breaks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return x.square()


class Differs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if torch.compiler.is_compiling() else x * 3


class Forgets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("updates", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            self.updates += 1
        return x.square()


@pytest.mark.parametrize(
    ("make", "told"), [(Breaks, "graph breaks"), (Differs, "step 0: .*not close"), (Forgets, "updates: .*not close")]
)
def test_what_differs_is_found(make: type[nn.Module], told: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s){told}"):
        assert_equal_to_eager(Layer(make))
