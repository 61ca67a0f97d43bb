"""`Trainer(deterministic=True)` on CUDA: no layer, estimator, loss, metric or model uses an operation that raises there."""

from collections.abc import Callable, Iterator

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import Tensor, nn

from tests.harness.deterministic import Deterministic
from tests.tables.faults import cases
from tests.tables.makers import ESTIMATORS, LAYERS, METRICS, MODELS, Network, results, train
from tests.tables.metrics import arguments
from tests.tables.test_models import run


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", cases("deterministic", LAYERS))
def test_a_layer(name: str) -> None:
    layer = LAYERS[name]
    network = Network(layer.build())
    given = layer.arguments(network.layer)
    with Deterministic():
        train(network, layer, steps=2)
        results(network.eval(), given)


@pytest.mark.parametrize("name", cases("deterministic expectation", ESTIMATORS))
def test_the_expectation_of_an_estimator(name: str) -> None:
    estimator, logits = ESTIMATORS[name](), torch.randn(5, 3, 4, requires_grad=True)
    binary = not estimator.categorical
    with Deterministic():
        losses = estimator.expectation(lambda x: x.square().sum((-2, -1)), logits, 0.7, binary=binary)
        losses.sum().backward()


@pytest.mark.parametrize("name", cases("deterministic metric", METRICS))
def test_a_metric(name: str) -> None:
    metric, given = METRICS[name](), arguments(name, 0)
    with Deterministic():
        metric.update(*given)
        metric.compute()


@pytest.mark.parametrize("name", cases("deterministic model", MODELS))
@pytest.mark.filterwarnings("ignore:the choices are still undecided", "ignore:The `training_step` returned")
def test_a_model(name: str) -> None:
    seed_everything(0, verbose=False)
    model = MODELS[name]()
    with Deterministic():
        run("fit", name, model, limit_train_batches=1)


# The harness can fail

X = torch.rand(1, 1, 4, 4)
RAISING: dict[str, Callable[[Tensor], Tensor]] = {
    "cumsum": lambda x: x.cumsum(-1),
    "_adaptive_avg_pool2d_backward": nn.AdaptiveAvgPool2d(2),
    "upsample_bilinear2d_backward": nn.Upsample(scale_factor=2, mode="bilinear"),
    "reflection_pad2d_backward": nn.ReflectionPad2d(1),
    "median": lambda x: x.median(-1).values,
    "bincount": lambda x: torch.bincount(torch.arange(16), weights=x.detach().flatten()) + x.sum(),
    "histc": lambda x: torch.histc(x.detach()) + x.sum(),
    "multinomial": lambda x: x.detach().view(1, 16).multinomial(2, replacement=True) + x.sum(),
}


@pytest.mark.parametrize("name", RAISING)
def test_what_raises_is_found(name: str) -> None:
    x = X.clone().requires_grad_()
    with Deterministic(), pytest.raises(RuntimeError, match=f"^{name} does not have a deterministic implementation"):
        RAISING[name](x).sum().backward()


def test_what_does_not_raise_passes() -> None:
    x = X.clone().requires_grad_()
    with Deterministic():
        torch.arange(5).cumsum(0)
        y = nn.functional.interpolate(x, scale_factor=2, mode="nearest").mean((2, 3)) + x.median()
        y.sum().backward()
        torch.bincount(torch.arange(3))
        nn.functional.cross_entropy(x.flatten(1), torch.tensor([1])).backward()
