"""Words of a line that a frozen language model finds most likely, as a LightningModule: blanks filled, ends of lines led to."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.functional._random import numbered_seed
from discrete_lightning.text.networks import TokenNetwork
from discrete_lightning.text.training.base_network import StartedModule
from discrete_lightning.text.training.text_module import TextModule
from discrete_lightning.text.word_search import IteratedLocalSearch, WordProblem, WordSearch
from discrete_lightning.text.word_search.template import Template, read_template, words_only
from discrete_lightning.training.averaging import check_not_averaged

_RESULTS = "lines_found"  # in a checkpoint


@dataclass(frozen=True)
class LineFound:
    """A line that a search has found.

    Attributes:
        template: the line with blanks.
        method: name of the search.
        text: the line.
        nll: of all its tokens, in nats.
        evaluations: that the search used.
        history: (evaluations, nll of the best line so far).
    """

    template: str
    method: str
    text: str
    nll: float
    evaluations: int
    history: list[tuple[int, float]]


class WordOptimizer(StartedModule):
    """Fills the blanks of lines so that they are most likely under a frozen language model: one training step, one line.

    The method and those it is compared with get the same number of evaluations of the language model (see `WordProblem`). Each
    rank does all lines with the same noise, so that any number of ranks finds the same. `LineWriter` writes what was found.
    Logged: `nll` of each line; in the test `test/nll`, the mean over lines, and `test/nll_NAME` of each other method.

    Args:
        lines: with blanks: "___" is one free token, "___*5" are five, as in "___*5 of the king".
        method: of the search; None: `IteratedLocalSearch()`.
        compare: methods that are run beside it, none by default.
        evaluations: of the language model, for each line and method.
        prompt: what goes before each line.
        words: whether only whole words fill blanks: " the" inside of a line, "The" where one begins. Otherwise all tokens.
        base: folder of a run of a model of text, or a checkpoint; None: a language model is trained first.
        network: what to train where there is no base.
        base_epochs: passes over the training text, where there is no base.
        seed: of the searches.

    Raises:
        ValueError: if an argument is out of its range; in setup, if a line has no blank, or does not fit the language model.
    """

    def __init__(
        self,
        lines: Sequence[str],
        method: WordSearch | None = None,
        compare: Sequence[WordSearch] = (),
        evaluations: int = 2000,
        prompt: str = "\n",
        words: bool = True,
        base: str | None = None,
        network: TokenNetwork | None = None,
        base_epochs: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(base, network, base_epochs)
        check_at_least(1, evaluations=evaluations)
        if not lines or isinstance(lines, str):
            raise ValueError(f"lines is a list of one line or more, such as ['___*5 of the king'], got {lines!r}")
        if not prompt:
            raise ValueError("prompt is a text of one character or more, got an empty one: a line end is enough")
        self.automatic_optimization = False
        self.line_templates, self.prompt, self.words, self.evaluations, self.seed = (
            list(lines),
            prompt,
            words,
            evaluations,
            seed,
        )
        methods = [IteratedLocalSearch() if method is None else method, *compare]
        self.methods = dict(zip(_unique([each.name for each in methods]), methods, strict=True))
        self.found: list[LineFound] = []
        self._templates: list[Template] = []
        self.requires_grad_(False)
        self.anchor = nn.Parameter(torch.zeros(()))  # DistributedDataParallel wants a parameter that is trained

    def setup(self, stage: str) -> None:
        TextModule.setup(self, stage)  # the tokenizer: what is wrong with a line shows before two minutes of training
        if self.tokenizer is None:
            raise ValueError(
                "WordOptimizer needs a language model and its tokenizer: give base, the folder of a run of text/quickstart, "
                "or data such as Shakespeare to train one on"
            )
        self._templates = [read_template(each, self.tokenizer) for each in self.line_templates]
        for template in self._templates:
            self._problem(template)
        self.network.requires_grad_(True)  # where it is trained first
        super().setup(stage)
        self.network.requires_grad_(False)

    def _problem(self, template: Template) -> WordProblem:
        assert self.tokenizer is not None
        prompt = torch.tensor(self.tokenizer.encode(self.prompt))
        allowed = None
        if self.words:
            allowed = words_only(template, self.tokenizer, self.network.vocabulary, self.prompt.endswith("\n"))
        try:
            return WordProblem(self.network, template.tokens, template.free, prompt, allowed)
        except ValueError as error:
            raise ValueError(f"line {template.text!r}: {error}") from None

    def on_fit_start(self) -> None:
        check_not_averaged(self.trainer, "WordOptimizer")
        self.train()

    def train_dataloader(self) -> DataLoader[int]:
        """The numbers of the lines, where no data module serves batches, which are not looked at."""
        return DataLoader(range(len(self.line_templates)), batch_size=None)  # type: ignore[arg-type]

    def test_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(1), batch_size=None)  # type: ignore[arg-type]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.anchor], lr=0.0)

    @property
    def done(self) -> int:
        """Number of lines that are found."""
        return len(self.found) // len(self.methods)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        if self.done < len(self._templates):
            template = self._templates[self.done]
            number = self.done
            self.found += [self._search(template, name, number) for name in self.methods]
            self.log("nll", self.found[number * len(self.methods)].nll, prog_bar=True, batch_size=1)
        optimizer: Any = self.optimizers()
        optimizer.step()  # Lightning counts steps of the optimiser, and saves no checkpoint without one
        if self.done >= len(self._templates):
            self.trainer.should_stop = True

    def _search(self, template: Template, name: str, number: int) -> LineFound:
        assert self.tokenizer is not None
        generator = torch.Generator(self.device).manual_seed(numbered_seed(self.seed, number))
        with torch.autocast(self.device.type, enabled=False):
            found = self.methods[name].run(self._problem(template), self.evaluations, generator)
        text = self.tokenizer.decode(found.tokens.tolist())
        return LineFound(template.text, name, text, found.nll, found.evaluations, found.history)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Does nothing: lines are found in training, whatever the data."""

    def val_dataloader(self) -> DataLoader[int]:
        """One item that nobody reads, where there is no data module: Lightning warns of a step without data."""
        return DataLoader(range(1))  # type: ignore[arg-type]

    def test_step(self, batch: Any, batch_idx: int) -> None:
        for name in self.methods:
            nll = [each.nll for each in self.found if each.method == name]
            if nll:
                key = "test/nll" if name == next(iter(self.methods)) else f"test/nll_{name}"
                self.log(key, sum(nll) / len(nll), batch_size=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint[_RESULTS] = [asdict(each) for each in self.found]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.found = [LineFound(**each) for each in checkpoint.get(_RESULTS, [])]


def _unique(names: list[str]) -> list[str]:
    """Names, numbered where one comes again: the same search with other settings."""
    return [name if name not in names[:i] else f"{name}_{names[:i].count(name) + 1}" for i, name in enumerate(names)]
