"""What a `LearnedTemperature` has found: lines about flat gradients, `temperature.csv` and `temperature.png`."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from discrete_lightning.training.atomic_write import write_table
from discrete_lightning.training.pictures import never_ends_a_run, save_figure
from discrete_lightning.training.run_files import fresh_path, has_own_folder, output_folder

_POINTS = 40  # of a curve
COLUMNS = ("beta", "temperature", "truth", "error", "objective", "gradient", "steepness", "flat")


@dataclass(frozen=True)
class TemperatureFound:
    """The learned temperature of one bonus.

    Attributes:
        beta: weight of the bonus.
        temperature: learned.
        truth: by soft value iteration.
        objective: J at the learned temperature.
        gradient: dJ/dtau there, logits held.
        steepness: of J beside the truth, see `discrete_lightning.control.tables.tempered.steepness`.
        flat: whether that is too little for the temperature to arrive.
    """

    beta: float
    temperature: float
    truth: float
    objective: float
    gradient: float
    steepness: float
    flat: bool

    @property
    def error(self) -> float:
        """Relative to the truth, signed."""
        return self.temperature / self.truth - 1


class HasTemperatures(Protocol):
    """What the report asks of the module."""

    environment: str

    @property
    def truth(self) -> Tensor:
        """(B,)."""

    def results(self) -> list[TemperatureFound]:
        """One of each bonus."""

    def derivative(self, tau: Tensor) -> tuple[Tensor, Tensor]:
        """J and tau dJ/dtau of (B,) temperatures."""


def flat_line(environment: str, found: TemperatureFound) -> str:
    """One line on a bonus whose gradient is flat.

    Example:
        >>> print(flat_line("Taxi-v4", TemperatureFound(0.1, 0.154, 0.1, 1.9, 0.0, 8e-4, True)))
        note: Taxi-v4, beta 0.1: the gradient is flat (|tau dJ/dtau| = 0.0008 |J| at 1.1 tau*): tau is 0.154, not 0.1, and is left out of the error
    """  # noqa: E501
    return (
        f"note: {environment}, beta {found.beta:g}: the gradient is flat (|tau dJ/dtau| = {found.steepness:.2g} |J| at 1.1 "
        f"tau*): tau is {found.temperature:.3g}, not {found.truth:.3g}, and is left out of the error"
    )


def write_report(trainer: Trainer, module: HasTemperatures) -> None:
    """Prints the lines, and writes the two files to the run's folder, if it has one."""
    found = module.results()
    for each in found:
        if each.flat:
            print(flat_line(module.environment, each))
    if trainer.fast_dev_run or not has_own_folder(trainer):  # type: ignore[attr-defined]
        return
    rows = [{name: getattr(each, name) for name in COLUMNS} for each in found]
    write_table(fresh_path(output_folder(trainer), "temperature.csv"), COLUMNS, rows)
    with never_ends_a_run("temperature.png"):
        _draw(trainer, module, found)


def curves(module: HasTemperatures) -> tuple[Tensor, Tensor]:
    """Temperatures from a quarter of the truth to four times it, and dJ/dtau there: (points, B) each."""
    factors = torch.logspace(-2, 2, _POINTS, base=2.0, dtype=torch.float64)
    taus = [float(factor) * module.truth for factor in factors]
    slopes = [module.derivative(tau)[1] / tau for tau in taus]
    return torch.stack(taus), torch.stack(slopes)


def _draw(trainer: Trainer, module: HasTemperatures, found: list[TemperatureFound]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    taus, slopes = (each.cpu() for each in curves(module))
    for i, each in enumerate(found):
        scale = slopes[:, i].abs().max().clamp_min(1e-300)
        left.plot(taus[:, i], slopes[:, i] / scale, color=f"C{i}", label=f"{each.beta:g}")
        left.axvline(each.truth, color=f"C{i}", linewidth=0.6, linestyle=":")
        right.plot(each.beta, each.temperature, "o", color=f"C{i}", fillstyle="none" if each.flat else "full", zorder=3)
    left.axhline(0, color="0.5", linewidth=0.6)
    left.set(xscale="log", xlabel="temperature", ylabel="dJ/dtau, largest = 1", title=module.environment)
    left.legend(title="beta", fontsize=7, title_fontsize=7)
    ordered = sorted(found, key=lambda each: each.beta)
    betas = [each.beta for each in ordered]
    right.plot(betas, [each.truth for each in ordered], "k_-", label="soft value iteration")
    right.plot([], [], "o", color="0.4", label="learned")
    if any(each.flat for each in found):
        right.plot([], [], "o", color="0.4", fillstyle="none", label="learned, gradient flat")
    right.set(xscale="log", yscale="log", xlabel="weight of the entropy bonus, beta", ylabel="temperature")
    right.set_xticks(betas, [f"{beta:g}" for beta in betas], minor=False)
    right.set_xticks([], minor=True)
    right.legend(fontsize=7)
    caption = (
        "Left: dJ/dtau with the logits held; dotted: the temperature of the optimum, where it is 0. Right: learned "
        "temperatures beside those of soft value iteration"
    )
    save_figure(trainer, figure, "temperature.png", "temperature/learned", caption)
