"""What a language model writes as it learns: in the terminal, in a file and in W&B."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.text.generation import generate
from discrete_lightning.text.training.text_module import TextModule
from discrete_lightning.training.atomic_write import write_text
from discrete_lightning.training.pictures import never_ends_a_run
from discrete_lightning.training.run_files import fresh_path, output_folder
from discrete_lightning.training.wandb_media import log_table


class TextWriter(Callback):
    """Draws texts after each validation: one is printed, all are in samples.txt and in the W&B table `samples`.

    The draws have a generator of their own: the run's random numbers are the same with and without this callback, and
    each validation draws with the same seed, so that what changes is the model.

    Args:
        prompt: what the texts go on from.
        tokens: of a text, 1 or more.
        count: texts a time, 1 or more.
        temperature, top_k, top_p, min_p: see `text.generate`.
        filename: in the run's folder; None: no file.
        show: whether to print one.
        seed: of the draws.

    Raises:
        ValueError: if a number is out of range; in setup, if the model is no model of text.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[TextWriter(tokens=50)], logger=False, enable_checkpointing=False)
    """

    def __init__(
        self,
        prompt: str = "\n\n",
        tokens: int = 120,
        count: int = 4,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        filename: str | None = "samples.txt",
        show: bool = True,
        seed: int = 0,
    ) -> None:
        check_at_least(1, tokens=tokens, count=count)
        if not prompt:
            raise ValueError("prompt is a text of one character or more: a line end is enough")
        self.prompt, self.tokens, self.count, self.filename, self.show, self.seed = (
            prompt, tokens, count, filename, show, seed,
        )  # fmt: skip
        self.sampling: dict[str, Any] = {
            "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        }  # fmt: skip
        self._pages: list[str] = []
        self._path: Path | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, TextModule):
            raise ValueError(
                f"TextWriter writes what a model of text draws, and the model is {type(pl_module).__name__}"
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pages, self._path = [], None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, TextModule)
        with never_ends_a_run("the samples of text"):
            texts = self._draw(pl_module)
            nats = trainer.callback_metrics.get("val/nats_per_character")
            title = f"step {trainer.global_step}" + ("" if nats is None else f", {float(nats):.3f} nats a character")
            if self.show:
                print(f"--- {title}\n{texts[0].strip()}\n---")
            log_table(trainer, "samples", ["step", "text"], [[trainer.global_step, text] for text in texts])
            self._pages.append(f"=== {title}\n\n" + "\n\n---\n\n".join(text.strip("\n") for text in texts) + "\n")
            if self.filename and not trainer.fast_dev_run:  # type: ignore[attr-defined]
                if self._path is None:
                    self._path = fresh_path(output_folder(trainer), self.filename)
                write_text(self._path, "\n".join(self._pages))

    def _draw(self, model: TextModule) -> list[str]:
        assert model.tokenizer is not None
        prompt = torch.tensor(model.tokenizer.encode(self.prompt), device=model.device)
        training = model.training
        model.eval()
        try:
            with model.trainer.precision_plugin.forward_context():
                found = generate(
                    model.drawn_from(),
                    prompt.expand(self.count, -1),
                    self.tokens,
                    generator=torch.Generator(model.device).manual_seed(self.seed),
                    **self.sampling,
                )
        finally:
            model.train(training)
        return [printable(model.tokenizer.decode(row)) for row in found.tolist()]


def printable(text: str) -> str:
    """A text whose bytes may be no UTF-8, as one that can be written."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
