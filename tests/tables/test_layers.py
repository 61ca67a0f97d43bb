"""What holds for every layer, quantiser and loss: precision, copies, pickles, meta devices, exceptions, ranks."""

import copy
import pickle
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.distributed import average_over_ranks, rank
from discrete_lightning.nn import RelaxedEmbedding
from tests.ranks import run_on_ranks
from tests.tables.faults import cases
from tests.tables.makers import LAYERS, SAMPLING, Network, loss_of, protected, results, train

# what their options compute under autocast is theirs
OWN_AUTOCAST = ("OneOf*", "supernet")
# their draws are numbered, so that a draw that came to nothing is counted, too
NUMBERED_DRAWS = ("ArchitectureChoice", "OneOf*", "supernet")


def among(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def built(name: str) -> Network:
    return Network(LAYERS[name].build())


def state(network: torch.nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, those that are not saved included, and of extra states."""
    extra = [(key, value) for key, value in network.state_dict().items() if key.endswith("_extra_state")]
    return {
        key: value.detach().clone() for key, value in [*network.named_parameters(), *network.named_buffers(), *extra]
    }


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def assert_dtypes(name: str, found: list[Tensor], dtype: torch.dtype, others: torch.dtype = torch.float32) -> None:
    """The first result is of the input's dtype; what else is computed may be float32, or `others`."""
    floating = [each.dtype for each in found if each.is_floating_point()]
    expected = torch.float32 if LAYERS[name].float32_results else dtype
    assert floating[0] == expected
    assert set(floating) <= {expected, torch.float32, others}
    assert all(each.isfinite().all() for each in found)


@pytest.mark.parametrize("name", cases("dtype", LAYERS))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_network_keeps_its_float32_state(name: str, dtype: torch.dtype) -> None:
    network = built(name)
    before = protected(network)
    network.to(dtype)
    assert protected(network) == before
    for training in (True, False):
        given = [each.to(dtype) for each in LAYERS[name].arguments(network.layer)]
        found = results(network.train(training), tuple(given))
        assert_dtypes(name, found, dtype)
        if training and any(each.requires_grad for each in found):
            loss_of(found).backward()
            assert all(each.grad is None or each.grad.isfinite().all() for each in network.parameters())
    assert protected(network) == before


@pytest.mark.filterwarnings("ignore:.*no optimiser trains what it quantises")
@pytest.mark.parametrize("name", cases("autocast", [name for name in LAYERS if not among(name, OWN_AUTOCAST)]))
def test_results_under_autocast_are_of_the_inputs_dtype(name: str) -> None:
    network = built(name)
    before = protected(network)
    for dtype in (torch.float32, torch.bfloat16):
        given = [each.to(dtype) for each in LAYERS[name].arguments(network.layer)]
        with torch.autocast("cpu", torch.bfloat16):
            found = results(network.layer, tuple(given))
        table = network.layer.weight if isinstance(network.layer, RelaxedEmbedding) else None  # rows are of its dtype
        assert_dtypes(name, found, dtype if table is None else table.dtype, torch.bfloat16)  # logits of a linear layer
    assert protected(network) == before


@pytest.mark.parametrize("name", cases("deepcopy", LAYERS))
def test_a_deep_copy_is_equal_and_independent(name: str) -> None:
    network, layer = built(name), LAYERS[name]
    train(network, layer, steps=2)
    before, twin = state(network), copy.deepcopy(network)
    assert_same(state(twin), before)
    learned = train(twin, layer, steps=1, seed=1)
    assert_same(state(network), before)
    assert all(torch.equal(a, b) for a, b in zip(train(network, layer, steps=1, seed=1)[0], learned[0], strict=True))
    assert_same(state(twin), state(network))


@pytest.mark.parametrize("name", cases("pickle", LAYERS))
def test_a_pickle_is_equal(name: str) -> None:
    network, layer = built(name), LAYERS[name]
    train(network, layer, steps=2)
    twin = pickle.loads(pickle.dumps(network))
    assert_same(state(twin), state(network))
    a, b = (train(each, layer, steps=2, seed=1) for each in (network, twin))
    assert all(torch.equal(x, y) for x, y in zip(a[-1], b[-1], strict=True))
    assert_same(state(twin), state(network))


@pytest.mark.parametrize("name", cases("meta", LAYERS))
def test_built_on_the_meta_device(name: str) -> None:
    """As torch and FSDP build large models: without memory, then filled from a checkpoint."""
    network, layer = built(name), LAYERS[name]
    train(network, layer, steps=2)
    with torch.device("meta"):
        twin = built(name)
    repr(twin)
    assert all(each.is_meta for each in [*twin.parameters(), *twin.buffers()])
    empty = [name for name, each in [*twin.named_parameters(), *twin.named_buffers()] if each.is_meta]
    twin = twin.to_empty(device="cpu")
    made = dict([*twin.named_parameters(), *twin.named_buffers()])
    with torch.no_grad():
        for name in empty:
            made[name].fill_(3)  # memory that was not written holds arbitrary numbers
    twin.load_state_dict(network.state_dict())
    assert_same(state(twin), state(network))
    given = layer.arguments(network.layer)
    a, b = (results(each.eval(), given) for each in (network, twin))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", cases("exception", [name for name in LAYERS if not among(name, NUMBERED_DRAWS)]))
def test_a_pass_that_came_to_nothing_leaves_no_trace(name: str) -> None:
    network, layer = built(name), LAYERS[name]
    expected = built(name)
    for each in (network, expected):
        train(each, layer, steps=1)
    before = state(network)
    results(network, layer.arguments(network.layer, seed=9))  # and what uses it raised
    assert_same(state(network), before)
    a, b = (train(each, layer, steps=2, seed=1) for each in (network, expected))
    assert all(torch.equal(x, y) for x, y in zip(a[-1], b[-1], strict=True))
    assert_same(state(network), state(expected))


# Two ranks


def _train_on_this_rank(name: str) -> dict[str, Tensor]:
    """As DistributedDataParallel would: batches of each rank's own, gradients averaged."""
    network, layer = built(name), LAYERS[name]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for step in range(3):
        torch.manual_seed(step)
        given = layer.arguments(network.layer, seed=10 * step + rank())
        found = results(network, given)
        optimizer.zero_grad()
        if any(each.requires_grad for each in found):
            loss_of(found).backward()
        parameters = list(network.parameters())
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        for parameter, gradient in zip(parameters, average_over_ranks(gradients), strict=True):
            parameter.grad = gradient
        optimizer.step()
    return state(network)


def _sample_on_this_rank(name: str) -> Tensor:
    layer = SAMPLING[name].build()
    torch.manual_seed(3)
    return layer(torch.zeros(200, 4))


def on_a_rank() -> tuple[dict[str, Any], dict[str, Tensor]]:
    torch.set_num_threads(1)
    return {name: _train_on_this_rank(name) for name in LAYERS}, {name: _sample_on_this_rank(name) for name in SAMPLING}


@pytest.fixture(scope="module")
def ranks() -> list[tuple[dict[str, Any], dict[str, Tensor]]]:
    return run_on_ranks(on_a_rank)


@pytest.mark.parametrize("name", cases("ranks", LAYERS))
def test_state_is_equal_on_two_ranks(ranks: list[tuple[dict[str, Any], dict[str, Tensor]]], name: str) -> None:
    (first, _), (second, _) = ranks
    assert_same(first[name], second[name])


@pytest.mark.parametrize("name", cases("noise", [name for name in SAMPLING if not name.endswith("_Softmax")]))
def test_noise_is_each_ranks_own(ranks: list[tuple[dict[str, Any], dict[str, Tensor]]], name: str) -> None:
    (_, first), (_, second) = ranks
    together = torch.stack([first[name].flatten(), second[name].flatten()])
    assert torch.corrcoef(together)[0, 1].abs() < 0.2  # 800 entries: 5 standard deviations
