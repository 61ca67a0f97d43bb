"""Writes the lines that a `WordOptimizer` has found, and draws how low their nll got with how many evaluations."""

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.text.training.text_writer import printable
from discrete_lightning.text.training.word_optimizer import LineFound, WordOptimizer
from discrete_lightning.training.atomic_write import write_text
from discrete_lightning.training.pictures import never_ends_a_run, save_figure
from discrete_lightning.training.run_files import fresh_path, output_folder


class LineWriter(Callback):
    """Prints the lines that were found, writes them to `lines.txt`, and draws `search.png`: also after Ctrl-C.

    The picture shows the best nll so far, the mean over lines, against the evaluations of the language model.

    Args:
        name: of the text file, without suffix; existing files are not overwritten.

    Raises:
        ValueError: in setup, if the model finds no lines.
    """

    _written = True  # until setup

    def __init__(self, name: str = "lines") -> None:
        self.name = name

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, WordOptimizer):
            raise ValueError(
                f"LineWriter writes the lines that a WordOptimizer finds, and the model is {type(pl_module).__name__}"
            )
        self._written = False

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.training:
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._written or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, WordOptimizer)  # setup() has checked it
        if not pl_module.found:
            return
        self._written = True
        text = page(pl_module.found)
        print(text)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        write_text(fresh_path(output_folder(trainer), f"{self.name}.txt"), text + "\n")
        with never_ends_a_run("search.png"):
            _draw(trainer, pl_module.found)


def page(found: list[LineFound]) -> str:
    """Each template, below it the line of each method with its nll; at the end the means where there are several lines.

    Example:
        >>> print(page([LineFound("___ king", "CoordinateSearch", "The king", 7.25, 100, [])]))
        ___ king
           7.25 nats  CoordinateSearch  The king
    """
    width = max(len(each.method) for each in found)
    out: list[str] = []
    template = None
    for each in found:
        if each.template != template:
            out.append(each.template)
            template = each.template
        out.append(f"{each.nll:7.2f} nats  {each.method:{width}}  {printable(each.text)}")
    methods = list(dict.fromkeys(each.method for each in found))
    if len(found) > len(methods):
        out.append(f"mean of {len(found) // len(methods)} lines, {found[0].evaluations} evaluations each")
        for method in methods:
            nll = [each.nll for each in found if each.method == method]
            out.append(f"{sum(nll) / len(nll):7.2f} nats  {method}")
    return "\n".join(out)


def mean_history(found: list[LineFound], method: str) -> tuple[list[int], list[float]]:
    """Evaluations, and the mean over lines of the best nll after so many, from where each line has one."""
    histories = [each.history for each in found if each.method == method]
    begin = max(history[0][0] for history in histories)
    last = max(each.evaluations for each in found if each.method == method)
    places = sorted({at for history in histories for at, _ in history if at >= begin} | {last})
    means = [
        sum(min(nll for at, nll in history if at <= place) for history in histories) / len(histories)
        for place in places
    ]
    return places, means


def _draw(trainer: Trainer, found: list[LineFound]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for method in dict.fromkeys(each.method for each in found):
        axes.step(*mean_history(found, method), where="post", label=method)
    axes.set_xscale("log")
    axes.set_xlabel("evaluations of the language model")
    axes.set_ylabel("nats a line")
    axes.legend(fontsize=7)
    caption = (
        "Best line so far: negative log-likelihood under the language model, mean over lines, against its evaluations"
    )
    save_figure(trainer, figure, "search.png", "lines/search", caption)
