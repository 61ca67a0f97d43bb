"""How a policy learned, against environment steps: returns, entropy, temperature."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.control.training.control_module import ControlModule
from discrete_lightning.training.pictures import never_ends_a_run, save_figure

_TRAIN = ("train/return", "train/entropy", "temperature")
_CAPTION = (
    "Against environment steps of all processes: the mean return of the episodes that ended in a rollout and that of the "
    "evaluations, the policy's mean entropy in nats{temperature}"
)


class ReturnCurves(Callback):
    """Draws `curves.png` when fitting ends: return, entropy and temperature against environment steps.

    Args:
        filename: of the picture.

    Raises:
        ValueError: in setup, if the model does not act.
    """

    def __init__(self, filename: str = "curves.png") -> None:
        self.filename = filename
        self._curves: dict[str, list[tuple[float, float]]] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, ControlModule):
            raise ValueError(f"ReturnCurves draws how a policy learns, and the model is {type(pl_module).__name__}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        logged: dict[str, float] = getattr(pl_module, "figures", {})
        self._add(pl_module, {name: logged[name] for name in _TRAIN if name in logged})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = trainer.callback_metrics.get("val/return")
        if trainer.state.fn == "fit" and not trainer.sanity_checking and found is not None:
            self._add(pl_module, {"val/return": float(found)})

    def _add(self, module: LightningModule, values: dict[str, float]) -> None:
        assert isinstance(module, ControlModule)
        for name, value in values.items():
            self._curves.setdefault(name, []).append((float(module.counters.environment_steps), value))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and self._curves and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            with never_ends_a_run(self.filename):
                self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        panels = [("return", ("train/return", "val/return")), ("entropy, nats", ("train/entropy",))]
        if "temperature" in self._curves:
            panels.append(("temperature", ("temperature",)))
        figure = Figure(figsize=(3.4 * len(panels), 3), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (title, names) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            for name in names:
                if name in self._curves:
                    steps, values = zip(*self._curves[name], strict=True)
                    style = {"marker": "o", "markersize": 3} if name.startswith("val/") else {"linewidth": 0.8}
                    axes.plot(steps, values, label=name, **style)
            axes.set_xlabel("environment steps")
            axes.set_ylabel(title)
            if len(names) > 1 and axes.lines:
                axes.legend(fontsize=7)
        end = ", and its temperature." if "temperature" in self._curves else "."
        save_figure(trainer, figure, self.filename, "curves", _CAPTION.format(temperature=end))

    def state_dict(self) -> dict[str, Any]:
        """The curves so far: those of a resumed run go on."""
        return {"curves": {name: list(points) for name, points in self._curves.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self._curves = {name: [tuple(each) for each in points] for name, points in state_dict["curves"].items()}
