"""Every layer on a pretended accelerator: no float64, no mix of devices, no more host reads than today."""

from collections import Counter
from fnmatch import fnmatchcase

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.nas import expected_loss, one_draw
from discrete_lightning.nn import GumbelQuantizer
from tests.harness.device import OnHost, PretendDevice
from tests.tables.faults import cases
from tests.tables.makers import LAYERS, METRICS, Layer, Network, train
from tests.tables.metrics import arguments

# Host reads of one step of training and of one pass in eval(), at most. A name that is not here reads nothing.
CEILINGS: dict[str, tuple[int, int]] = {
    # a draw outside of a shared one is one read, a decision of changed logits three; see below
    "ArchitectureChoice": (0, 3),
    "OneOf": (1, 3),
    "OneOf_mixed": (0, 3),
    "supernet": (3, 3),
    "index_backpropagation_drawn": (18, 0),  # the sizes of cells of near codes are read; negatives=None reads nothing
    "ConcreteSelector": (0, 1),  # the features that the selectors take are assigned on the host
}


def ceiling(name: str) -> tuple[int, int]:
    return next((most for pattern, most in CEILINGS.items() if fnmatchcase(name, pattern)), (0, 0))


def reads(layer: Layer, device: PretendDevice) -> tuple[Counter[str], Counter[str]]:
    """Of the third step of training, and of a pass in eval() after it."""
    network = Network(layer.build())
    with device:
        train(network, layer, steps=2)
        device.reads.clear()
        train(network, layer, steps=1, seed=1)
        training = Counter(device.reads)
        device.reads.clear()
        given = [each.to(network.scale.device) for each in layer.arguments(network.layer)]
        with torch.no_grad():
            network.eval()(*given)
    return training, device.reads


@pytest.mark.parametrize("name", LAYERS)
def test_host_reads_of_a_layer(name: str) -> None:
    training, evaluation = reads(LAYERS[name], PretendDevice("cuda"))
    most = ceiling(name)
    assert training.total() <= most[0], training
    assert evaluation.total() <= most[1], evaluation


def test_reads_of_a_network_with_choices() -> None:
    """One for each draw that its layers share, also of several choices, and one for each pass in eval()."""
    shared = Network(LAYERS["supernet"].build())
    own = nn.Sequential(*(LAYERS["OneOf"].build() for _ in range(3)))
    for network, given in ((shared, torch.rand(2, 1, 8, 8)), (own, torch.rand(2, 4))):
        with PretendDevice("cuda") as device:
            given = given.to("cuda")
            with one_draw(network):
                assert device.reads.total() == 1, device.reads
                network(given).square().sum().backward()
            assert device.reads.total() == 1, device.reads
            device.reads.clear()
            expected_loss(network, lambda network=network, given=given: network(given).square().sum()).backward()
            assert device.reads.total() <= (1 if network is shared else 4), device.reads
            with torch.no_grad():
                network.eval()(given)
                device.reads.clear()
                network(given)
        assert device.reads.total() == (1 if network is shared else 3), device.reads


@pytest.mark.parametrize("name", cases("float64", LAYERS))
def test_a_layer_needs_no_float64(name: str) -> None:
    reads(LAYERS[name], PretendDevice("mps", float64=False))


@pytest.mark.parametrize("name", METRICS)
def test_an_update_of_a_metric(name: str) -> None:
    """Counting codes is one `bincount`, whose length depends on values."""
    metric, given = METRICS[name](), arguments(name, 0)
    with PretendDevice("mps", float64=False) as device:
        metric.update(*given)
    assert device.reads.total() <= 1, device.reads
    assert {key.split()[0] for key in device.reads} <= {"bincount"}


# The harness can fail


class Reads(nn.Module):
    """Looks at its input in one of the ways that wait for a device."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        ways = {
            "item": lambda: x.sum().item(),
            "bool": lambda: bool((x > 0).any()),
            "float": lambda: float(x.detach()[0, 0]),
            "tolist": lambda: x.tolist(),
            "cpu": lambda: x.cpu(),
            "to": lambda: x.to("cpu"),
            "numpy": lambda: x.detach().numpy(),
            "nonzero": lambda: x.nonzero(),
            "mask": lambda: x[x > 0],
            "masked_select": lambda: x.masked_select(x > 0),
            "unique": lambda: x.unique(),
            "bincount": lambda: (x > 0).long().flatten().bincount(),
            "equal": lambda: torch.equal(x, x + 1),
            "assignment": lambda: x.detach().clone().__setitem__(x > 0, torch.zeros((), device=x.device)),
        }
        ways[self.how]()
        return x


WAYS = [
    "item", "bool", "float", "tolist", "cpu", "to", "numpy", "nonzero", "mask", "masked_select", "unique", "bincount",
    "equal", "assignment",
]  # fmt: skip


@pytest.mark.parametrize("how", WAYS)
def test_a_layer_that_reads_is_found(how: str) -> None:
    training, evaluation = reads(Layer(lambda: Reads(how)), PretendDevice("cuda"))
    assert training.total() == 1
    assert evaluation.total() == 1


def test_reads_of_the_host_itself_are_free() -> None:
    with PretendDevice("cuda") as device:
        table = torch.tensor([1.0, 2.0])
        assert table.device.type == "cpu"
        assert table.sum().item() == 3
        assert (table * table).double().tolist() == [1, 4]
        assert table.to(torch.device("cuda")).device.type == "cuda"
    assert not device.reads


def test_a_read_is_told_with_its_line() -> None:
    training, _ = reads(LAYERS["OneOf"], PretendDevice("cuda"))
    assert any(" nas/" in key for key in training), training


class Double(nn.Module):
    def __init__(self, backward: bool) -> None:
        super().__init__()
        self.backward = backward

    def forward(self, x: Tensor) -> Tensor:
        if self.backward:
            x.register_hook(lambda gradient: gradient.double().float())
            return x
        return torch.zeros(4, dtype=torch.float64, device=x.device).sum() * x


@pytest.mark.parametrize("backward", [False, True])
def test_a_layer_that_makes_float64_is_found(backward: bool) -> None:
    with pytest.raises(TypeError, match="Cannot convert a MPS Tensor to float64"):
        reads(Layer(lambda: Double(backward)), PretendDevice("mps", float64=False))


class OnTwoDevices(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.ones(4)


def test_a_layer_that_mixes_devices_is_found() -> None:
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device, cuda and cpu"):
        reads(Layer(OnTwoDevices), PretendDevice("cuda"))


def test_values_and_gradients_are_those_of_the_cpu() -> None:
    layer = Layer(lambda: GumbelQuantizer(8, 4), lambda _: (torch.randn(40, 4),))
    network = Network(layer.build())
    with PretendDevice("cuda"):
        found = train(network, layer)
    assert not any(isinstance(each, OnHost) for step in found for each in step)
    assert torch.empty(0).device.type == "cpu"  # outside all is as before
    assert isinstance(torch.Generator(), torch.Generator)
    expected = train(Network(layer.build()), layer)
    assert [each.shape for each in found[-1]] == [each.shape for each in expected[-1]]
