"""The search for columns: cross-fitted gates under a falling budget.

Gates that are trained on the rows which the network has learned by heart keep columns of noise open. Here M networks share one
layer of gates, and the rows are in M folds: network m learns from the rows of the other folds, and the gates learn from its
loss on fold m, which it has not seen (cross-fitting: Chernozhukov et al. 2018, https://arxiv.org/abs/1608.00060):

    weights_m:  sum over rows outside of fold m of loss(network_m(x * z), y),   z drawn, without a gradient
    gates:      sum over m, rows of fold m,  of    loss(network_m(x * z), y),   and the gradient of the budget

All gates are open first; then the expected number of open ones falls to the budget; then they are decided.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from discrete_lightning.functional.keyed_noise import picked_rows
from discrete_lightning.layers.float32 import FixedDtype
from discrete_lightning.selection.budget import BudgetController, open_gates
from discrete_lightning.selection.features.exchange import exchanged
from discrete_lightning.selection.features.feature_network import FeatureNetwork
from discrete_lightning.selection.features.interactions import screened_products
from discrete_lightning.selection.features.targets import Targets
from discrete_lightning.selection.gates.gate_layer import GateLayer

_CANDIDATES = 64  # columns of the best scores that may be chosen in exchange
_FIRST = 0.1  # share of the run in which gates stand still, since the networks are random


@dataclass(frozen=True)
class SearchSettings:
    """How columns are searched for.

    Args:
        members: M, networks and folds, 2 or more.
        hidden: units of each of two layers.
        steps: of the optimiser.
        batch_size: rows a step.
        learning_rate: of the networks, with AdamW; it falls to 5 % over the last quarter.
        gate_learning_rate: of stochastic gates, with Adam; three times as much of gates with log-odds (`GateLayer.span`).
        weight_decay: of the networks.
        products: most products of two, and of three, columns that the networks see beside the columns; 0 for none.
        exchange: whether single columns are exchanged when they are decided (`exchanged`).
    """

    members: int = 5
    hidden: int = 32
    steps: int = 800
    batch_size: int = 320
    learning_rate: float = 3e-3
    gate_learning_rate: float = 3e-2
    weight_decay: float = 1e-2
    products: int = 16
    exchange: bool = True

    def __post_init__(self) -> None:
        least = {"members": 2, "hidden": 1, "steps": 1, "batch_size": 2, "products": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} must be at least {value}, got {getattr(self, name)}")


@dataclass
class Course:
    """How a search went, a row for each 1 % of the steps.

    Attributes:
        progress: share of the steps.
        probabilities: P(open) of each column, (D,) each.
        expected: expected number of open gates.
        losses: on rows that a network has not seen, with gates drawn; 1 is what knows nothing of the columns.
    """

    progress: list[float] = field(default_factory=list)
    probabilities: list[Tensor] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


class FeatureSearch(FixedDtype):
    """Gates on the columns of a table, and networks that predict the targets from what is open.

    Args:
        columns: D.
        targets: what is predicted.
        gate: the layer of D gates, one draw a row.
        controller: of the budget.
        settings: of the search.
        products: indices of the columns of each product.

    Attributes:
        gate: decided at the end.
        network: FeatureNetwork.
    """

    def __init__(
        self,
        columns: int,
        targets: Targets,
        gate: GateLayer,
        controller: BudgetController,
        settings: SearchSettings | None = None,
        products: list[tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__()
        self.settings = SearchSettings() if settings is None else settings
        self.targets, self.gate, self.controller = targets, gate, controller
        self._table: tuple[Tensor, Tensor] | None = None
        self.network = FeatureNetwork(
            columns, targets.outputs, self.settings.members, self.settings.hidden, products or []
        )

    def exchange_by(self, x: Tensor, y: Tensor) -> None:
        """Gives the rows by which columns are exchanged when they are decided.

        Args:
            x: standardised columns, float32 (n, D).
            y: centred targets, float32 (n, O) (`Targets.centered`).
        """
        self._table = x, y

    def decide(self, progress: float = 1.0) -> None:
        """Decides which columns are open, and from the controller's `settle` on exchanges some of them, and holds the decision.

        Raises:
            BudgetError: if no decision meets the budget.
        """
        if self.gate.held:
            return
        self.controller.decide(self.gate, progress)
        if self._table is None or not self.gate.held:
            return
        x, y = self._table
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        chosen = self.gate.open().nonzero()[:, 0].tolist()
        best = self.gate.scores().argsort(descending=True, stable=True)[: max(_CANDIDATES, 2 * len(chosen))]
        chosen = exchanged(x[order], y[order], chosen, best.tolist())
        open = torch.zeros(self.gate.size, dtype=torch.bool)
        open[chosen] = True
        self.gate.decide(open.to(self.gate.decision.device), hold=True)

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW for the networks and the gates."""
        rate = self.settings.gate_learning_rate * self.gate.span
        gates = list(self.gate.parameters(recurse=False))
        others = [each for each in self.gate.parameters() if not any(each is one for one in gates)]
        return torch.optim.AdamW(
            [
                {
                    "params": [*self.network.parameters(), *others],
                    "lr": self.settings.learning_rate,
                    "weight_decay": self.settings.weight_decay,
                },
                {"params": gates, "lr": rate, "weight_decay": 0.0, "betas": (0.9, 0.99)},
            ]
        )

    def set_rate(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """The learning rate of the networks after a share of the run."""
        optimizer.param_groups[0]["lr"] = self.settings.learning_rate * min(1.0, 4 * (1 - progress) + 0.05)

    def forward(self, x: Tensor) -> Tensor:
        """The mean output of the networks in eval(): logits, or standardised numbers, float32 (B, outputs)."""
        # draws of estimators that need the loss's value carry no gradient
        z = self.gate.draw(x.float()) if self.gate.training else self.gate(x.float())
        return self.network(z.expand(self.settings.members, *z.shape)).mean(0)

    def gradients(self, x: Tensor, y: Tensor, fold: Tensor, progress: float) -> Tensor:
        """Sets the gradients of networks and gates.

        Args:
            x: standardised columns, float32 (B, D).
            y: targets, (B, T).
            fold: int64 (B,), in [0, M).
            progress: the share of the run that is over, in [0, 1].

        Returns:
            The mean loss on rows that a network has not seen, 0-dim.
        """
        members = self.settings.members
        mine = fold == torch.arange(members, device=fold.device).unsqueeze(1)  # (M, B)
        member = torch.arange(members, device=x.device).unsqueeze(1)
        copies = torch.arange(len(x), device=x.device) * members + member  # of each row one for each member
        with picked_rows(copies.flatten(), copies.numel()):
            z = self.gate.draw(x.repeat(members, 1)).view(members, *x.shape)
        losses = self.targets.losses(self.network(z), y)
        seen = (~mine).float()
        total = ((losses * seen).sum(1) / seen.sum(1).clamp_min(1)).sum()
        parameters = list(self.network.parameters())
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(total / members, parameters, allow_unused=True), strict=True
        ):
            parameter.grad = gradient
        unseen = self._gate_gradients(x, y, mine, hold=progress < _FIRST)
        self.controller.add_gradient(self.gate, progress)
        return unseen

    def _gate_gradients(self, x: Tensor, y: Tensor, mine: Tensor, hold: bool) -> Tensor:
        parameters = list(self.gate.parameters())
        for each in parameters:
            each.grad = None
        count = mine.sum(1)
        width = int(count.max())
        order = (~mine).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]  # rows of each fold first
        real = (torch.arange(width, device=x.device) < count.unsqueeze(1)).float()
        rows, targets = x[order], y[order]  # (M, b, D), (M, b, T)
        shape = rows.shape[:2]

        def function(gated: Tensor) -> Tensor:
            """Gated rows (..., M b, D) to losses (..., M b)."""
            draws = gated.shape[:-2]
            z = gated.view(-1, *shape, gated.shape[-1]).transpose(0, 1)  # (M, draws, b, D)
            number = z.shape[1]
            outputs = self.network(z.reshape(shape[0], number * shape[1], -1))
            values = targets.unsqueeze(1).expand(-1, number, -1, -1).reshape(shape[0], number * shape[1], -1)
            found = self.targets.losses(outputs, values).view(shape[0], number, shape[1]).transpose(0, 1)
            return found.reshape(*draws, -1)

        members = len(mine)
        copies = order * members + torch.arange(members, device=x.device).unsqueeze(1)  # as in `gradients`
        if hold or self.gate.held:
            with torch.no_grad(), picked_rows(copies.flatten(), mine.numel()):
                drawn = self.gate.draw(rows.flatten(0, 1))
                return (function(drawn) * real.flatten()).sum() / real.sum()
        with picked_rows(copies.flatten(), mine.numel()):
            losses = self.gate.expectation(function, rows.flatten(0, 1))
        loss = (losses * real.flatten()).sum() / real.sum()
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient
        return loss.detach()


def search_columns(
    x: Tensor,
    targets: Targets,
    gate: GateLayer,
    controller: BudgetController,
    settings: SearchSettings | None = None,
    seed: int = 0,
) -> tuple[FeatureSearch, Course]:
    """Searches for the columns that predict the targets within the budget; the gates are decided.

    Args:
        x: standardised columns, float32 (n, D), n >= 2.
        targets: of the n rows.
        gate: a layer of D gates.
        controller: of the budget.
        settings: of the search.
        seed: of all that is random; the global generator is left as it was.

    Returns:
        What was searched with, and how it went.

    Raises:
        BudgetError: if no decision meets the budget.
    """
    settings = SearchSettings() if settings is None else settings
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), one_thread():
        torch.manual_seed(seed)
        gate.reset_parameters()
        gate.undecide()
        controller.check(gate)
        products = screened_products(x, targets.columns(), settings.products) if settings.products else []
        search = FeatureSearch(x.shape[1], targets, gate, controller, settings, products)
        if settings.exchange and controller.cost is open_gates:
            search.exchange_by(x, targets.centered())
        return search, _run(search, x, targets)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for operations that are so small that more of them wait for each other, most of all beside a busy process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _run(search: FeatureSearch, x: Tensor, targets: Targets) -> Course:
    settings, course = search.settings, Course()
    folds = folds_of(targets, settings.members)
    rows = [(folds == m).nonzero()[:, 0] for m in range(settings.members)]
    each = max(1, min(settings.batch_size // settings.members, min(len(one) for one in rows)))
    number = torch.arange(settings.members).repeat_interleave(each)
    optimizer = search.optimizer()
    search.train()
    for step in range(settings.steps):
        progress = step / settings.steps
        if progress >= search.controller.settle:
            search.decide(progress)
        chosen = torch.cat([one[torch.randint(len(one), (each,))] for one in rows])
        search.set_rate(optimizer, progress)
        loss = search.gradients(x[chosen], targets.values[chosen], number, progress)
        optimizer.step()
        if step % max(1, settings.steps // 100) == 0:
            probabilities = search.gate.open_probability().detach().clone()
            course.progress.append(progress)
            course.probabilities.append(probabilities)
            course.expected.append(float(probabilities.sum()))
            course.losses.append(float(loss))
    search.decide()
    search.eval()
    return course


def folds_of(targets: Targets, members: int) -> Tensor:
    """The fold of each row, int64 (n,): of equal sizes, and of equal shares of the classes of the first target."""
    rows = len(targets.values)
    place = torch.randperm(rows)
    if targets.classes:
        place = place[targets.values[place, 0].argsort(stable=True)]
    folds = torch.empty(rows, dtype=torch.int64)
    folds[place] = torch.arange(rows) % members
    return folds
