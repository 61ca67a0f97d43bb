"""One mixture of experts for rows of numbers, a row being one token, beside a dense network of equal FLOPs."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.routing.mixture import MixtureOfExperts
from discrete_lightning.routing.mutual_information import NormalizedMutualInformation
from discrete_lightning.routing.training.compared import ComparedModel, StageMetrics, computed, dense_of
from discrete_lightning.routing.training.feed_forward import FeedForward, MixtureFeedForward
from discrete_lightning.routing.training.watched import first_expert, routers_of, watched_routers
from discrete_lightning.training.batches import Examples, examples_of

Task = Literal["classification", "regression"]


class _Network(nn.Module):
    """head(layer(trunk(x))), rows (..., inputs) to (..., outputs)."""

    def __init__(self, trunk: nn.Module, layer: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.layer, self.head = trunk, layer, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.trunk(x)))


class RoutedNetwork(ComparedModel):
    """trunk, mixture of experts, head; and a network of equal FLOPs with a dense layer instead, trained on the same batches.

    Batches are `(inputs, targets)` or, in validation and test, `(inputs, targets, source)`: the source of each row, which
    training never sees. Rows of several vectors, inputs (B, S, inputs) and targets (B, S) or (B, S, outputs), make one choice
    if the mixture's level is "sequence". Logged of validation and test: `error` and `dense_error` (share of wrong classes, or
    mean squared error of a number), `expert_source_nmi` (normalised mutual information of the source and the expert of the
    largest gate) where batches have a source, and the figures of `LoadMetrics`.

    Args:
        inputs: numbers of a row.
        outputs: classes, or numbers of a target.
        feed_forward: makes the mixture; by default a `MixtureFeedForward` of 8 experts, one a row. Its router can be any
            estimator, `LeaveOneOut` included, since a row has a loss of its own.
        dense: makes the layer of the dense network; by default that of equal FLOPs which `feed_forward.dense()` gives.
        compare: whether there is a dense network.
        task: "classification" (cross-entropy) or "regression" (squared error).
        trunk: numbers of a first layer that all experts share; 0: there is none.
        head: whether a linear layer with a norm follows; else the mixture's output is the result.
        sources: number of sources in validation and test.
        learning_rate: of AdamW.

    Raises:
        ValueError: if an argument is out of its range, or a batch does not fit.

    Example:
        >>> model = RoutedNetwork(inputs=6, outputs=3, trunk=4)
        >>> model(torch.randn(5, 6)).shape
        torch.Size([5, 3])
    """

    model: _Network

    def __init__(
        self,
        inputs: int,
        outputs: int,
        feed_forward: FeedForward | None = None,
        dense: FeedForward | None = None,
        compare: bool = True,
        task: Task = "classification",
        trunk: int = 0,
        head: bool = True,
        sources: int = 4,
        learning_rate: float = 2e-3,
    ) -> None:
        super().__init__()
        check_at_least(1, inputs=inputs, outputs=outputs, sources=sources)
        check_at_least(0, trunk=trunk)
        check_positive(learning_rate=learning_rate)
        if task not in get_args(Task):
            raise ValueError(f"task must be 'classification' or 'regression', got {task!r}")
        dim = trunk or inputs
        if not head and dim != outputs:
            raise ValueError(
                f"without a head the mixture gives {dim} numbers, and outputs={outputs}: set head, or trunk"
            )
        if feed_forward is None:
            feed_forward = MixtureFeedForward(count=8, k=1, hidden=16, router="paired", tokens="independent")
        self.inputs, self.outputs, self.task, self.sources = inputs, outputs, task, sources
        self.learning_rate = learning_rate

        def network(layer: FeedForward) -> _Network:
            first = nn.Sequential(nn.Linear(inputs, trunk), nn.GELU(), nn.LayerNorm(trunk)) if trunk else nn.Identity()
            last = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, outputs)) if head else nn.Identity()
            return _Network(first, layer(dim), last)

        self.model = network(feed_forward)
        self.dense = network(dense_of(feed_forward, dense)) if compare else None
        layer = self.model.layer
        self.level = layer.level if isinstance(layer, MixtureOfExperts) else "token"
        self.add_metrics()
        counts = [each.count for each in routers_of(self.model).values()]
        for metrics in (self.val_metrics, self.test_metrics):
            metrics.nmi = NormalizedMutualInformation(counts[0], sources) if len(counts) == 1 else None

    def examples(self, batch: Any, batch_idx: int = 0) -> Examples:
        inputs, targets = examples_of(batch)
        whole = self.level == "sequence"
        if (
            inputs.ndim not in ((3,) if whole else (2, 3))
            or inputs.shape[-1] != self.inputs
            or not inputs.is_floating_point()
        ):
            expected = f"(B, S, {self.inputs})" if whole else f"(B, {self.inputs}) or (B, S, {self.inputs})"
            raise ValueError(
                f"inputs are floating-point numbers {expected}, and a batch holds {inputs.dtype} {tuple(inputs.shape)}: set "
                "inputs, or change their shape"
            )
        shape = inputs.shape[:-1] if self.task == "classification" else (*inputs.shape[:-1], self.outputs)
        if targets is None or targets.shape != shape or targets.is_floating_point() == (self.task == "classification"):
            got = "none" if targets is None else f"{targets.dtype} {tuple(targets.shape)}"
            kind = "integers" if self.task == "classification" else "floating-point numbers"
            raise ValueError(f"targets of {self.task} are {kind} {tuple(shape)}, and a batch holds {got}")
        if self.task == "classification" and batch_idx == 0 and targets.numel():
            low, high = (int(each) for each in targets.aminmax())
            if low < 0 or high >= self.outputs:
                raise ValueError(
                    f"labels are 0 to {self.outputs - 1}, and a batch holds {low} to {high}: set outputs={high + 1}"
                )
        return Examples(inputs, targets)

    def model_losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        layer = self.model.layer
        if not isinstance(layer, MixtureOfExperts):
            return super().model_losses(inputs, targets)
        # a choice has a loss of its own, so that estimators which need it can be used, too
        if self.level == "sequence":
            return layer.expectation(
                lambda y: self.losses(self.model.head(y), targets).mean(-1), self.model.trunk(inputs)
            )
        rows = inputs.flatten(0, -2)
        targets = targets.flatten(0, inputs.ndim - 2)
        return layer.expectation(lambda y: self.losses(self.model.head(y), targets), self.model.trunk(rows))

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats, or the mean of the squared errors; float32 (...) of outputs (..., outputs)."""
        if self.task == "regression":
            return (outputs.float() - targets.float()).square().mean(-1)
        log_p = torch.log_softmax(outputs.float(), -1)
        return -log_p.gather(-1, targets.long().expand(outputs.shape[:-1]).unsqueeze(-1))[..., 0]

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean of the squared errors, or 1 where the largest output is another class; float32 (...)."""
        if self.task == "regression":
            return self.losses(outputs, targets)
        return (outputs.argmax(-1) != targets).float()

    def evaluate(self, metrics: StageMetrics, batch: Any, batch_idx: int) -> None:
        chosen: list[Tensor] = []
        with watched_routers(self.model, lambda _, routed: chosen.append(first_expert(routed))):
            super().evaluate(metrics, batch, batch_idx)
        source = batch[2] if isinstance(batch, tuple | list) and len(batch) > 2 else None
        if metrics.nmi is not None and source is not None:
            shape = (-1, *[1] * (chosen[0].ndim - 1))  # the tokens of a row have its source
            metrics.nmi.update(chosen[0], source.view(shape).expand_as(chosen[0]))
            metrics.has_sources = True

    def figures(self, metrics: StageMetrics) -> dict[str, Tensor]:
        found = super().figures(metrics)
        if metrics.nmi is not None and metrics.has_sources:
            found["expert_source_nmi"] = computed(metrics.nmi)
        return found

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """The outputs, and the expert of the largest gate of each row, int64 (B,), or of each vector, (B, S)."""
        chosen: list[Tensor] = []
        with watched_routers(self.model, lambda _, routed: chosen.append(first_expert(routed))):
            outputs = self(self.examples(batch, batch_idx).inputs)
        return {"outputs": outputs} | ({"experts": chosen[0]} if chosen else {})
