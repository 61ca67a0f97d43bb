import itertools
import random
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from discrete_lightning.nas import (
    check_options,
    derive,
    hold_architecture,
    operation_costs,
)
from discrete_lightning.nas.cost_table import latency
from discrete_lightning.nas.spaces.darts import DARTSChoice
from discrete_lightning.nas.spaces.nasbench201 import connected, edge_list
from discrete_lightning.nn import (
    ArchitectureChoice,
    DARTSSpace,
    InvertedResidualSpace,
    NASBench201,
    OneOf,
    SearchSpace,
)

SPACES: list[SearchSpace] = [
    NASBench201(channels=2, nodes=4, stages=2),
    DARTSSpace(channels=2, cells=3, nodes=2),
    InvertedResidualSpace(channels=(2, 4), strides=(1, 2), layers=2, expansions=(1, 2)),
]
each = pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)


def decided(space: SearchSpace, seed: int) -> list[str]:
    """Something that the space could decide for."""
    choice = space.choice(None, 1.0)
    torch.manual_seed(seed)
    with torch.no_grad():
        choice.logits.normal_()
    return choice.decided()


@each
def test_supernet_and_plain_network(space: SearchSpace) -> None:
    torch.manual_seed(0)
    images = torch.rand(3, 2, 9, 9)  # an odd side
    supernet = space.supernet(2, 5)
    assert supernet(images).shape == (3, 5)
    assert supernet.choice.count == space.choices
    assert len([m for m in supernet.modules() if isinstance(m, ArchitectureChoice)]) == 1
    check_options(supernet, images)
    plain = space.build(decided(space, 0), 2, 5)
    assert not [m for m in plain.modules() if isinstance(m, OneOf | ArchitectureChoice)]
    assert plain(images).shape == (3, 5)
    assert all(type(p) is nn.Parameter for p in plain.parameters())


@each
def test_derived_is_what_was_held(space: SearchSpace) -> None:
    supernet = space.supernet(1, 3)
    images = torch.rand(4, 1, 8, 8)
    for seed in range(4):
        indices = supernet.choice.indices(decided(space, seed))
        supernet.eval()
        with hold_architecture(supernet, [indices]), torch.no_grad():
            torch.testing.assert_close(derive(supernet)(images), supernet(images))


@each
@pytest.mark.parametrize("measure", ["parameters", "flops"])
def test_table_predicts_the_built_network(space: SearchSpace, measure: Any) -> None:
    images = torch.rand(1, 1, 8, 8)
    table, fixed = space.costs(images, 3, measure)
    for seed in range(5):
        architecture = space.used(decided(space, seed))
        indices = space.choice(None, 1.0).indices(architecture)
        network = space.build(architecture, 1, 3).eval()
        if measure == "parameters":
            cost = sum(p.numel() for p in network.parameters())
        else:
            with FlopCounterMode(display=False) as counter:
                network(images)
            cost = counter.get_total_flops()
        assert fixed + float(table[range(space.choices), indices].sum()) == pytest.approx(cost)


@each
def test_description_goes_round(space: SearchSpace) -> None:
    description = space.describe()
    assert type(space)(**description["init_args"]) == space
    assert space.read({"space": description, "architecture": decided(space, 1)}) == decided(space, 1)


@each
def test_edges_are_of_the_architecture(space: SearchSpace) -> None:
    architecture = decided(space, 2)
    edges = space.edges(architecture)
    assert [edge.operation for edge in edges] == [name for name in space.used(architecture) if name != "none"]


def test_connected_by_brute_force() -> None:
    """An edge is used if it lies on one of the paths from first to last, all of them enumerated."""
    pairs = edge_list(4)
    for present in itertools.product([False, True], repeat=len(pairs)):
        there = {pair for pair, keep in zip(pairs, present, strict=True) if keep}
        paths = [
            list(itertools.pairwise((0, *middle, 3)))
            for size in range(3)
            for middle in itertools.combinations((1, 2), size)
        ]
        used = {pair for path in paths if set(path) <= there for pair in path}
        assert [pair in used for pair in pairs] == connected(4, list(present))


def test_published_sizes() -> None:
    """15,625 cells; 28 choices of 8 operations in DARTS."""
    assert len(NASBench201().options) ** NASBench201().choices == 15_625
    assert (DARTSSpace().choices, len(DARTSSpace().options)) == (28, 8)


def test_darts_keeps_two_edges_a_node_and_no_none() -> None:
    torch.manual_seed(0)
    choice = DARTSChoice(nodes=4)
    for _ in range(20):
        with torch.no_grad():
            choice.logits.normal_()
            choice.logits[:, 0] += 3  # `none` is likeliest everywhere
        names, start = choice.decided(), 0
        strength = torch.softmax(choice.logits.detach(), -1)[:, 1:].amax(1)
        for _cell, node in itertools.product(range(2), range(4)):
            own = range(start, start + node + 2)
            kept = [row for row in own if names[row] != "none"]
            assert sorted(kept) == sorted(sorted(own, key=lambda row: -float(strength[row]))[:2])
            assert all(names[row] == choice.options[1 + int(choice.logits[row, 1:].argmax())] for row in kept)
            start += node + 2


def test_none_costs_nothing() -> None:
    for space in SPACES[:2]:
        table, _ = space.costs(torch.zeros(1, 1, 8, 8), 3, "flops")
        assert table[:, space.options.index("none")].abs().sum() == 0


def test_latency_orders_small_and_large() -> None:
    small, large = nn.Conv2d(1, 1, 1), nn.Conv2d(64, 64, 5, padding=2)
    with torch.no_grad():
        assert latency(small, torch.zeros(1, 1, 8, 8)) < latency(large, torch.zeros(1, 64, 32, 32))


def test_two_choices_have_no_common_table() -> None:
    network = nn.Sequential(OneOf([nn.Identity()]), OneOf([nn.Identity()]))
    with pytest.raises(ValueError, match="one ArchitectureChoice for the network, there are 2"):
        operation_costs(network, torch.zeros(1), "flops")
    with pytest.raises(ValueError, match="parameters, flops, latency, got 'joules'"):
        operation_costs(network, torch.zeros(1), "joules")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NASBench201(operations=("skip", "conv9x9")), "operations are some of"),
        (lambda: NASBench201(operations=()), "operations are some of"),
        (lambda: NASBench201(nodes=1), "nodes must be at least 2"),
        (lambda: DARTSSpace(cells=0), "cells must be at least 1"),
        (lambda: InvertedResidualSpace(channels=(8,), strides=(1, 2)), "1 widths, 2 strides"),
        (lambda: InvertedResidualSpace(kernels=(4,)), "odd"),
        (lambda: InvertedResidualSpace(channels=()), "one or more numbers"),
    ],
)
def test_what_is_no_space(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_random_architectures_of_the_cell_run() -> None:
    chosen = random.Random(0)
    space = NASBench201(channels=2, stages=1)
    for _ in range(10):
        names = [chosen.choice(space.options) for _ in range(6)]
        assert space.build(names, 1, 2).eval()(torch.rand(1, 1, 4, 4)).isfinite().all()


@each
def test_random_architectures_are_of_the_space_and_within_the_limit(space: SearchSpace) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [space.random(generator) for _ in range(40)]
    assert len({tuple(names) for names in drawn}) > 30
    for names in drawn[:5]:
        assert space.build(names, 1, 3)(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    choice = space.choice(None, 1.0)
    table, fixed = space.costs(torch.zeros(1, 1, 8, 8), 3, "parameters")
    choice.costs.copy_(table)
    choice.fixed_cost = fixed
    costs = sorted(choice.cost(choice.indices(names)) for names in drawn)
    choice.limit = costs[10]
    assert costs[-1] > costs[10]
    for _ in range(20):
        assert choice.cost(choice.indices(space.random(generator, choice))) <= costs[10]


def test_random_darts_cells_keep_two_operations_a_node() -> None:
    space = DARTSSpace(channels=2, cells=3, nodes=3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        edges = space.edges(space.random(generator))
        for cell in ("normal cell", "reduction cell"):
            for node in range(1, 4):
                assert len({e.source for e in edges if e.cell == cell and e.target == f"node {node}"}) == 2


def test_darts_node_without_an_edge_is_refused() -> None:
    space = DARTSSpace(channels=2, cells=3, nodes=2)
    names = ["skip_connect", "skip_connect", "none", "none", "none", *["skip_connect"] * 5]
    with pytest.raises(ValueError, match="every edge to node 2 of the normal cell is `none`"):
        space.build(names, 1, 3)


def test_darts_keeps_cheaper_edges_where_the_strongest_are_too_dear() -> None:
    choice = DARTSChoice(nodes=2)
    with torch.no_grad():
        choice.logits[:, 4] = 1.0
        choice.logits[[2, 3, 7, 8]] *= 2  # the last node's first two edges are the stronger ones
    choice.costs[:, 1:] = 10.0
    choice.costs[[3, 4, 8, 9], 1:] = 1.0  # and its others the cheaper
    choice.limit = 4 * 10.0 + 4 * 1.0
    choice.check_limit()
    assert choice.cost(choice.decide()) <= 44.0
    choice.limit = 43.0
    with pytest.raises(ValueError, match="the cheapest of all choices costs 44"):
        choice.check_limit()


class LowRank(nn.Module):
    """A module whose size does not show in its repr."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.left, self.right = nn.Parameter(torch.zeros(8, rank)), nn.Parameter(torch.zeros(rank, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.left @ self.right


def test_costs_of_modules_that_print_alike() -> None:
    network = nn.Sequential(OneOf([LowRank(1), LowRank(64)]))
    x = torch.zeros(2, 8)
    assert operation_costs(network, x, "parameters")[0].tolist() == [[16, 1024]]
    assert operation_costs(network, x, "flops")[0].tolist() == [[2 * 2 * 16, 2 * 2 * 1024]]


def test_parameters_of_a_layer_that_is_called_twice_count_once() -> None:
    layer = OneOf([nn.Linear(8, 8, bias=False), nn.Identity()])
    network = nn.Sequential(layer, nn.ReLU(), layer)
    assert operation_costs(network, torch.zeros(2, 8), "parameters")[0].tolist() == [[64, 0]]
    assert operation_costs(network, torch.zeros(2, 8), "flops")[0].tolist() == [[2 * 2 * 2 * 64, 0]]


@each
def test_questions_to_a_space_draw_nothing(space: SearchSpace) -> None:
    names = space.random(torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    space.check(names)
    assert torch.equal(torch.get_rng_state(), before)


@each
def test_a_supernet_in_eval_compares_its_decision_once(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    network = space.supernet(1, 3).eval()
    expected = network(torch.ones(2, 1, 16, 16))
    reads: list[int] = []
    equal = torch.equal
    monkeypatch.setattr(torch, "equal", lambda a, b: reads.append(1) or equal(a, b))
    assert equal(network(torch.ones(2, 1, 16, 16)), expected)
    assert len(reads) == 1
    with torch.no_grad():
        network.choice.logits[:, 1] += 1
    network(torch.ones(2, 1, 16, 16))
    assert network.choice.current().indices == network.choice.decide()
