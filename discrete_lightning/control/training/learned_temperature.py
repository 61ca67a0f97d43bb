"""A temperature that an entropy bonus pushes to the bonus's weight, as a LightningModule: the claim made exact on tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from discrete_lightning.control.tables.episodes import TableSampler, episode_objective
from discrete_lightning.control.tables.process import TabularProcess, toy_text
from discrete_lightning.control.tables.soft_values import soft_value_iteration
from discrete_lightning.control.tables.tempered import (
    FLAT,
    NormedLogits,
    root_mean_square,
    steepness,
    temperature_derivative,
    tempered_policy,
)
from discrete_lightning.control.tables.values import entropy_return
from discrete_lightning.control.training.temperature_report import TemperatureFound, write_report
from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.functional._random import numbered_seed
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.training.restorable import RestorableModule

Logits = Literal["soft_q", "learned"]
Gradient = Literal["exact", "episodes"]

_MINIMUM = 1e-4  # of a learned temperature
_SMALLEST = 1e-3  # bonus
_CUT = 1e-4  # discount at which episodes are cut
_UPDATES = {
    ("soft_q", "exact"): 300,
    ("learned", "exact"): 2500,
    ("soft_q", "episodes"): 400,
    ("learned", "episodes"): 1000,
}
_RATES = {"exact": 0.1, "episodes": 0.05}


class LearnedTemperature(RestorableModule):
    """Learns the temperature tau of softmax(logits / tau) with entropy bonuses of several weights beta, each by itself.

    The objective is J = E sum_t gamma^t (r_t + beta H_t) of a toy-text environment of gymnasium. Each beta has a
    `Temperature(learnable=True)` that starts at 1; its softplus is close to exp where tau is small, so that Adam's steps are
    steps of log tau there. One training batch is one update; no data is read, and all ranks do the same. Learning rates fall
    to 0 linearly.

    Where the gradient is flat (see `steepness`; CliffWalking-v1 and Taxi-v4 at beta <= 0.1) tau stops on its way. The run says
    so in a line for each such beta and leaves it out of the error. With learned logits J is flat at beta = 0.01 of
    FrozenLake-v1, too: tau ends a third or so above its place, at the same J to five digits. That is not left out.

    Logged: `temperature/beta_B`, `error/beta_B` (relative, signed) and `gradient/beta_B` (dJ/dtau) of each beta B; in the test
    `test/temperature` (of the largest beta), `test/temperature_error` (relative, the largest over beta) and
    `test/temperature/beta_B`. Writes `temperature.csv` and `temperature.png`.

    Args:
        environment: "FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", or another environment of gymnasium with tables.
        betas: weights of the entropy bonus, different, each at least 0.001.
        gamma: discount, in [0, 1).
        logits: "soft_q": the soft values of the optimum at beta, held fixed; tau goes to beta. "learned": logits that are
            learned with tau, centred and divided by their root mean square (`NormedLogits`); tau goes to beta / the root mean
            square of the centred soft values.
        gradient: of J. "exact": from the tables. "episodes": from sampled episodes, by the score function.
        normed: whether learned logits have a fixed scale. They must: without, (theta, tau) and (c theta, c tau) are one policy,
            and where tau ends depends on the learning rates.
        updates: steps of Adam in an epoch; None: 300 for exact gradients of soft_q, 2,500 of learned logits, 400 and 1,000 for
            episodes.
        episodes: that each update draws for each beta, at least 2; they are cut where gamma^t < 1e-4.
        learning_rate: of the temperature; None: 0.1, and 0.05 for episodes.
        logits_learning_rate: of learned logits.
        seed: of episodes and first logits.

    Raises:
        ValueError: an argument is out of its range, learned logits are not normed, or the environment has no tables.
        ImportError: gymnasium is not installed.

    Example:
        >>> model = LearnedTemperature("FrozenLake-v1", betas=[0.1, 0.3])
        >>> model.truth
        tensor([0.1000, 0.3000], dtype=torch.float64)
    """

    def __init__(
        self,
        environment: str = "FrozenLake-v1",
        betas: Sequence[float] = (0.03, 0.05, 0.1, 0.2, 0.3),
        gamma: float = 0.95,
        logits: Logits = "soft_q",
        gradient: Gradient = "exact",
        normed: bool = True,
        updates: int | None = None,
        episodes: int = 256,
        learning_rate: float | None = None,
        logits_learning_rate: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, kinds in (("logits", logits, Logits), ("gradient", gradient, Gradient)):
            if value not in get_args(kinds):
                raise ValueError(f"{name} must be {' or '.join(map(repr, get_args(kinds)))}, got {value!r}")
        if logits == "learned" and not normed:
            raise ValueError(
                "learned logits must be normed: (logits, tau) and (c logits, c tau) are one policy, so that without a fixed "
                "scale tau ends wherever the learning rates take it. Leave normed=True, or hold the logits: logits='soft_q'"
            )
        if not betas or len(set(betas)) < len(betas) or not min(betas) >= _SMALLEST:
            raise ValueError(f"betas are one or more different numbers, each at least {_SMALLEST}, got {list(betas)}")
        if not 0 <= gamma < 1:
            raise ValueError(f"gamma must be at least 0 and below 1, got {gamma}")
        self.updates = _UPDATES[logits, gradient] if updates is None else updates
        self.learning_rate = _RATES[gradient] if learning_rate is None else learning_rate
        check_at_least(1, updates=self.updates)
        check_at_least(2, episodes=episodes)
        check_positive(
            **{f"beta {beta}": beta for beta in betas},
            learning_rate=self.learning_rate,
            logits_learning_rate=logits_learning_rate,
        )
        self.environment, self.betas, self.gamma, self.gradient = environment, tuple(betas), gamma, gradient
        self.episodes, self.logits_learning_rate, self.seed = episodes, logits_learning_rate, seed
        self.horizon = next(t for t in range(1, 1_000_000) if gamma**t < _CUT)
        with torch.device("cpu"):  # tables are values, also where weights are to have none yet
            self._tables = _Tables(toy_text(environment), self.betas, gamma)
        self.tau = nn.ModuleList(Temperature(1.0, _MINIMUM, learnable=True) for _ in self.betas)
        process = self._tables.process
        self.learned = (
            NormedLogits(len(self.betas), process.decisions, process.actions, seed) if logits == "learned" else None
        )

    @property
    def truth(self) -> Tensor:
        """Temperatures of the optimum, float64 (B,), from soft value iteration."""
        return self._tables.betas if self.learned is None else self._tables.betas / self._tables.spread

    def temperatures(self) -> Tensor:
        """Learned so far, float64 (B,), where the tables are."""
        return torch.stack([each() for each in self.tau]).to(self._tables.betas.device).double()

    def policy_logits(self) -> Tensor:
        """Float64 (B, S, A), to be divided by the temperatures."""
        return self._tables.soft_q if self.learned is None else self.learned().to(self._tables.betas.device)

    def forward(self) -> Tensor:
        """The policies, float64 (B, S, A)."""
        return tempered_policy(self.policy_logits(), self.temperatures())

    def derivative(self, tau: Tensor) -> tuple[Tensor, Tensor]:
        """J and tau dJ/dtau of temperatures `tau` (B,), with the present logits held."""
        tables = self._tables
        return temperature_derivative(tables.process, self.policy_logits(), self.gamma, tables.betas, tau)

    def results(self) -> list[TemperatureFound]:
        """What was learned beside the truth, for each beta."""
        tables, learned, truth = self._tables, self.temperatures().detach(), self.truth
        steep = steepness(tables.process, tables.soft_q, self.gamma, tables.betas, tables.betas)
        objective, slope = self.derivative(learned)
        columns = (tables.betas, learned, truth, objective, slope / learned, steep, steep < FLAT)
        return [TemperatureFound(*row) for row in zip(*(each.tolist() for each in columns), strict=True)]

    def on_fit_start(self) -> None:
        self._place()

    def on_test_start(self) -> None:
        self._place()

    def _place(self) -> None:
        """Moves the tables to the model's device; MPS has no float64."""
        self._tables.to(torch.device("cpu") if self.device.type == "mps" else self.device)

    def train_dataloader(self) -> Any:
        """Numbers of updates, which are not looked at."""
        return _Updates(self.updates)

    def test_dataloader(self) -> Any:
        return range(1)

    def configure_optimizers(self) -> Any:
        groups = [{"params": list(self.tau.parameters()), "lr": self.learning_rate}]
        if self.learned is not None:
            groups.append({"params": list(self.learned.parameters()), "lr": self.logits_learning_rate})
        total = self.trainer.estimated_stepping_batches
        total = total if 0 < total < float("inf") else self.updates
        optimizer = torch.optim.Adam(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            tau = self.temperatures()
            objective = self._objective(tempered_policy(self.policy_logits(), tau))
            (slopes,) = torch.autograd.grad(objective.sum(), tau, retain_graph=True)
        self._log_each("temperature", tau)
        self._log_each("error", tau / self.truth - 1)
        self._log_each("gradient", slopes)
        self.log("train/loss", -objective.sum().detach().float(), batch_size=1)
        return -objective.sum()

    def _objective(self, policy: Tensor) -> Tensor:
        """A function (B,) whose gradient is that of J, or an estimate of it."""
        tables = self._tables
        if self.gradient == "exact":
            return entropy_return(tables.process, policy, self.gamma, tables.betas)
        seed = numbered_seed(self.seed, self.trainer.fit_loop.total_batch_idx)  # so that a resumed run draws the same
        generator = torch.Generator(policy.device).manual_seed(seed)
        tables.sampler = tables.sampler or TableSampler(tables.process)
        drawn = tables.sampler.draw(policy, self.episodes, self.horizon, generator)
        return episode_objective(tables.process, policy, drawn, self.gamma, tables.betas)[0]

    def _log_each(self, name: str, values: Tensor) -> None:
        for beta, value in zip(self.betas, values.detach().float(), strict=True):
            self.log(f"{name}/beta_{beta:g}", value, batch_size=1)

    def on_fit_end(self) -> None:
        if self.trainer.is_global_zero:
            write_report(self.trainer, self)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        found = self.results()
        largest = max(found, key=lambda each: each.beta)
        figures = {"test/temperature": largest.temperature}
        arrived = [abs(each.error) for each in found if not each.flat]
        if arrived:
            figures["test/temperature_error"] = max(arrived)
        figures |= {f"test/temperature/beta_{each.beta:g}": each.temperature for each in found}
        self.log_dict(figures, batch_size=1, sync_dist=True)


class _Updates:
    """Counts updates. No loader of torch, so that ranks do not share them out; a resumed epoch goes on with the next one."""

    def __init__(self, number: int) -> None:
        self.number, self.done, self._resumed = number, 0, 0

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[int]:
        start, self._resumed = self._resumed, 0
        for number in range(start + 1, self.number + 1):
            self.done = number
            yield number

    def state_dict(self) -> dict[str, int]:
        return {"done": self.done}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.done = self._resumed = state["done"]


class _Tables:
    """The process and its soft values, on one device; no state of the module, so that no cast reaches them."""

    def __init__(self, process: TabularProcess, betas: Sequence[float], gamma: float) -> None:
        self.process = process
        self.sampler: TableSampler | None = None  # made where it is needed
        self.betas = torch.tensor(betas, dtype=torch.float64)
        self.soft_q, _ = soft_value_iteration(process, gamma, self.betas)
        self.spread = root_mean_square(self.soft_q, process.decisions)

    def to(self, device: torch.device) -> None:
        if device == self.betas.device:
            return
        with torch.inference_mode(False):  # a test may come before a fit
            self.process, self.sampler = self.process.to(device), None
            for name in ("betas", "soft_q", "spread"):
                setattr(self, name, getattr(self, name).to(device))
