"""Models with mixtures beside their dense twins: each is trained as it would be alone; figures; batches that do not fit."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, seed_everything
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from discrete_lightning.estimators import LeaveOneOut
from discrete_lightning.models import DenseFeedForward, MixtureFeedForward, RoutedLanguageModel, RoutedNetwork
from discrete_lightning.routing import NormalizedMutualInformation
from discrete_lightning.routing.training.compared import ComparedModel
from tests.references.inputs import seeded
from tests.tiny_images import quiet_trainer
from tests.tiny_tokens import TinyRows, TinyText

SMALL: dict[str, Any] = {"vocabulary": 10, "context": 8, "dim": 8, "heads": 2, "layers": 2}
MIXTURE = MixtureFeedForward(count=4, k=2, hidden=6)
LOAD = {"dead_experts", "load_violation", "router_information"}


def language_model(**arguments: Any) -> RoutedLanguageModel:
    seed_everything(0, verbose=False)
    return RoutedLanguageModel(**(SMALL | {"feed_forward": MIXTURE} | arguments))


def network(**arguments: Any) -> RoutedNetwork:
    seed_everything(0, verbose=False)
    return RoutedNetwork(**({"inputs": 4, "outputs": 3, "sources": 2} | arguments))


def pages(router: Any = "paired", **arguments: Any) -> RoutedNetwork:
    form = MixtureFeedForward(3, 1, 4, router=router, tokens="independent", level="sequence")
    return network(feed_forward=form, **arguments)


CASES: dict[str, Any] = {
    "language_model": (language_model, TinyText),
    "network": (network, TinyRows),
    "network_of_tokens": (network, lambda: TinyRows(page=3)),
    "pages": (pages, lambda: TinyRows(page=3)),
    "pages_leave_one_out": (lambda **arguments: pages(LeaveOneOut(), **arguments), lambda: TinyRows(page=3)),
}


def fit(model: LightningModule, data: Any, folder: Path | None = None) -> dict[str, float]:
    """The figures on the test split; with a folder, metrics.csv is written."""
    logger = False if folder is None else CSVLogger(folder, name="", version="")
    trainer = quiet_trainer(max_epochs=2, logger=logger, log_every_n_steps=4)
    seed_everything(1, verbose=False)
    trainer.fit(model, data)
    return trainer.test(model, data, verbose=False)[0]


@pytest.mark.parametrize("case", CASES)
def test_figures_are_logged_of_validation_and_test(case: str, tmp_path: Path) -> None:
    make, data = CASES[case]
    model = make()
    found = fit(model, data(), tmp_path)
    names = {model.figure, f"dense_{model.figure}", *LOAD} | (
        set() if case == "language_model" else {"expert_source_nmi"}
    )
    assert set(found) == {f"test/{name}" for name in names}
    with (tmp_path / "metrics.csv").open() as file:
        columns = set(next(csv.reader(file)))
    assert columns >= {f"{stage}/{name}" for stage in ("val", "test") for name in names} | {
        "train/loss",
        "train/dense_loss",
    }


@pytest.mark.parametrize("case", CASES)
def test_each_is_trained_as_it_would_be_alone(case: str) -> None:
    make, data = CASES[case]
    both, alone = make(), make(compare=False)
    alone.model.load_state_dict(both.model.state_dict())
    fit(both, data())
    fit(alone, data())
    torch.testing.assert_close(dict(both.model.named_parameters()), dict(alone.model.named_parameters()))
    assert alone.dense is None


def test_nats_are_the_mean_over_all_tokens() -> None:
    model, data = language_model(), TinyText(batch_size=7)  # 24 windows: the last batch is smaller
    figures = quiet_trainer().test(model, data, verbose=False)[0]
    windows = data.dataset("test")
    inputs, targets = windows.__getitems__(range(len(windows)))
    with torch.no_grad():
        for name, net in (("nats", model.model), ("dense_nats", model.dense)):
            assert isinstance(net, nn.Module)
            log_p = torch.log_softmax(net.eval()(inputs), -1).gather(-1, targets.unsqueeze(-1))
            assert figures[f"test/{name}_per_character"] == pytest.approx(-log_p.mean().item(), abs=1e-5)


def test_load_is_that_of_all_tokens_and_the_worst_layer() -> None:
    model, data = language_model(), TinyText()
    figures = quiet_trainer().test(model, data, verbose=False)[0]
    windows = data.dataset("test")
    counts: list[Tensor] = []
    for block in model.model.eval().blocks:
        block.feed_forward.layer.router.register_forward_hook(
            lambda layer, given, routed: counts.append(routed.indices.flatten().bincount(minlength=4))
        )
    model(windows.__getitems__(range(len(windows)))[0])
    assert len(counts) == 2
    assert figures["test/dead_experts"] == sum(int((each == 0).sum()) for each in counts)
    worst = max(float(each.max() / each.float().mean() - 1) for each in counts)
    assert figures["test/load_violation"] == pytest.approx(worst, abs=1e-5)


def test_the_dense_model_has_as_many_blocks_as_a_token_passes() -> None:
    depth = language_model(layers=4, feed_forward=DenseFeedForward(6), dense=DenseFeedForward(6), share=0.5)
    assert len(depth.dense.blocks) == 2
    every_second = language_model(layers=4, share=[1, 0.5, 1, 0.5])
    assert len(every_second.dense.blocks) == 3
    assert len(language_model(dense_layers=5).dense.blocks) == 5
    parts: dict[str, Any] = {"layers": 6, "share": 0.25, "conditional": "feed_forward"}
    parts |= {"feed_forward": DenseFeedForward(32), "dense": DenseFeedForward(32)}  # d = 8: a third is attention
    assert len(language_model(**parts).dense.blocks) == 3
    narrow = language_model(**parts | {"dense": DenseFeedForward(16)})
    assert len(narrow.dense.blocks) == 4  # 6 (16 + 8) / (16 + 16) = 4.5, to even
    with pytest.raises(ValueError, match="give dense_layers"):
        language_model(**parts | {"dense": lambda dim: nn.Linear(dim, dim)})
    assert "test/nats_per_character" in fit(depth, TinyText())


def test_a_feed_forward_without_a_twin() -> None:
    with pytest.raises(ValueError, match=r"does not say which dense layer has its FLOPs: give dense=.*compare=False"):
        language_model(feed_forward=DenseFeedForward(4))
    assert language_model(feed_forward=lambda dim: nn.Linear(dim, dim), compare=False).dense is None


def test_errors_of_both_tasks() -> None:
    outputs = torch.randn(5, 3, generator=seeded(0))
    labels = torch.tensor([0, 1, 2, 0, 1])
    wrong = network().errors(outputs, labels)
    assert torch.equal(wrong, (outputs.argmax(-1) != labels).float())
    regression = network(task="regression")
    target = torch.randn(5, 3, generator=seeded(1))
    torch.testing.assert_close(regression.errors(outputs, target), ((outputs - target) ** 2).mean(-1))
    torch.testing.assert_close(regression.losses(outputs, target), ((outputs - target) ** 2).mean(-1))
    expected = nn.functional.cross_entropy(outputs, labels, reduction="none")
    torch.testing.assert_close(network().losses(outputs.expand(2, 5, 3), labels), expected.expand(2, 5))


def test_an_estimator_that_needs_the_loss() -> None:
    """The gradient to the router is that of the expected loss, in the mean."""
    form = MixtureFeedForward(3, 1, 4, router=LeaveOneOut(samples=2), tokens="independent")
    model = network(feed_forward=form)
    weight = model.model.layer.router.weight
    nn.init.normal_(weight)
    x, labels = torch.randn(6, 4, generator=seeded(4)), torch.tensor([0, 1, 2, 0, 1, 2])
    p = torch.softmax(x @ weight.T, -1)
    ends = torch.eye(3, dtype=torch.int32).cumsum(1)
    losses = [
        model.losses(model.model.head(model.model.layer.experts(x, 6 * each.to(torch.int32))), labels) for each in ends
    ]
    (exact,) = torch.autograd.grad((p * torch.stack(losses, -1).detach()).sum(-1).mean(), weight)
    torch.manual_seed(0)
    draws = [torch.autograd.grad(model.model_losses(x, labels).mean(), weight)[0] for _ in range(600)]
    found = torch.stack(draws)
    error = (found.mean(0) - exact).abs() / (found.std(0) / len(draws) ** 0.5)
    assert error.max() < 4.5  # 12 numbers: a false alarm in 1 of 10,000 seeds


def test_experts_that_follow_the_source_have_an_nmi_of_1() -> None:
    model = network(feed_forward=MixtureFeedForward(2, 1, 4, router="paired", tokens="independent"))
    nn.init.zeros_(model.model.layer.router.weight)
    model.model.layer.router.weight.data[0, 0] = 1.0  # expert 0 where the first number is positive
    x = torch.randn(20, 4, generator=seeded(2))
    model.eval()
    model.evaluate(model.test_metrics, (x, torch.zeros(20, dtype=torch.int64), (x[:, 0] < 0).long()), 0)
    assert model.figures(model.test_metrics)["expert_source_nmi"].item() == pytest.approx(1.0, abs=1e-6)


def test_predictions() -> None:
    found: Any = quiet_trainer().predict(language_model(), TinyText())
    assert found[0]["nats"].shape == (8, 8)
    found = quiet_trainer().predict(network(), TinyRows())
    assert found[0]["outputs"].shape == (8, 3)
    assert found[0]["experts"].shape == (8,)
    found = quiet_trainer().predict(pages(), TinyRows(page=3))
    assert found[0]["outputs"].shape == (8, 3, 3)
    assert found[0]["experts"].shape == (8,)
    found = quiet_trainer().predict(network(), TinyRows(page=3))
    assert found[0]["experts"].shape == (8, 3)


def test_a_page_makes_one_choice_and_its_loss_is_the_mean_of_its_vectors() -> None:
    model = pages(LeaveOneOut())
    nn.init.normal_(model.model.layer.router.weight)
    x, labels = torch.randn(5, 3, 4, generator=seeded(4)), torch.randint(3, (5, 3), generator=seeded(5))
    model.eval()
    expert = model.model.layer.router(x.mean(1)).indices[:, 0]
    assert expert.unique().numel() > 1
    for row in range(5):
        ends = (torch.arange(3) >= expert[row]).to(torch.int32) * 3
        y = model.model.head(model.model.layer.experts(x[row], ends))
        torch.testing.assert_close(model(x)[row], y, rtol=1e-5, atol=1e-5)
        expected = nn.functional.cross_entropy(y, labels[row])
        torch.testing.assert_close(model.model_losses(x, labels)[row], expected, rtol=1e-5, atol=1e-5)


def test_the_nmi_of_pages_and_of_tokens_with_the_source_of_their_row() -> None:
    for model, choose in ((pages(), lambda x: x.mean(1)), (network(), lambda x: x)):
        model.eval()
        nn.init.normal_(model.model.layer.router.weight)
        x = torch.randn(40, 3, 4, generator=seeded(2))
        source = (x.mean(1)[:, 0] < 0).long()
        model.evaluate(model.test_metrics, (x, torch.zeros(40, 3, dtype=torch.int64), source), 0)
        expert = model.model.layer.router(choose(x)).indices[..., 0]
        metric = NormalizedMutualInformation(8, 2)
        metric.update(expert.flatten(), source if expert.ndim == 1 else source.repeat_interleave(3))
        assert 0 < metric.compute() < 1
        torch.testing.assert_close(model.figures(model.test_metrics)["expert_source_nmi"], metric.compute())


def text(*shape: int, high: int = 10) -> Tensor:
    return torch.randint(high, shape, generator=seeded(3))


@pytest.mark.parametrize(
    ("make", "batch", "message"),
    [
        (language_model, (torch.randn(2, 8), text(2, 8)), r"is \(inputs, targets\), integers \(B, S\) each"),
        (language_model, (text(2, 8), text(2, 7)), r"int64 \(2, 8\) and \(2, 7\)"),
        (language_model, text(2, 8), "and None"),
        (language_model, (text(2, 9), text(2, 9)), "at most context=8 tokens, and the data serves 9"),
        (
            language_model,
            (text(2, 8) + 5, text(2, 8)),
            "tokens are 0 to 9, and a batch holds 0 to 14: set vocabulary=15",
        ),
        (network, (torch.randn(2, 5), text(2)), r"numbers \(B, 4\) or \(B, S, 4\), and a batch holds .*\(2, 5\)"),
        (
            network,
            (torch.randn(2, 4), torch.randn(2)),
            r"targets of classification are integers \(2,\), .*float32 \(2,\)",
        ),
        (network, torch.randn(2, 4), "holds none"),
        (pages, (torch.randn(2, 4), text(2)), r"floating-point numbers \(B, S, 4\), and a batch holds .*\(2, 4\)"),
        (pages, (torch.randn(2, 3, 4), text(2)), r"integers \(2, 3\), and a batch holds torch.int64 \(2,\)"),
        (
            network,
            (torch.randn(2, 4), torch.tensor([0, 3])),
            "labels are 0 to 2, and a batch holds 0 to 3: set outputs=4",
        ),
    ],
)
def test_batches_that_do_not_fit(make: Any, batch: Any, message: str) -> None:
    model: ComparedModel = make()
    with pytest.raises(ValueError, match=message):
        model.check_batch(batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "ranking"}, "task must be 'classification' or 'regression', got 'ranking'"),
        ({"head": False}, "without a head the mixture gives 4 numbers, and outputs=3"),
        ({"inputs": 0}, "inputs must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**arguments)
