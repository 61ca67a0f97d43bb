"""`generate`: what a model of text writes on from a prompt. It is `predict` with these classes."""

import sys
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch.utils.data import DataLoader

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.text.generation import stream_tokens
from discrete_lightning.text.training.text_module import TextModule
from discrete_lightning.text.training.text_writer import printable
from discrete_lightning.training.atomic_write import write_text
from discrete_lightning.training.prediction_writer import PredictionWriter
from discrete_lightning.training.run_files import fresh_path, output_folder


class Prompt(LightningDataModule):
    """A prompt as the data of `predict`, and how to go on from it.

    Args:
        prompt: a text of one character or more.
        tokens: number of tokens to draw, 1 or more.
        temperature: >= 0; 0 takes the most likely token.
        top_k, top_p, min_p: see `functional.truncate_logits`.
        seed: of the draws.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        prompt: str = "\n",
        tokens: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(1, tokens=tokens)
        if not prompt:
            raise ValueError("prompt is a text of one character or more, got an empty one")
        if not temperature >= 0:
            raise ValueError(f"temperature is 0 (the most likely token) or more, got {temperature}")
        self.prompt, self.tokens, self.seed = prompt, tokens, seed
        self.sampling: dict[str, Any] = {
            "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        }  # fmt: skip

    def predict_dataloader(self) -> "DataLoader[str]":
        return DataLoader([self.prompt], batch_size=None)  # type: ignore[arg-type]


class GeneratedText(PredictionWriter):
    """Prints a text token by token as it is drawn, and writes it to generated.txt.

    While it runs, the module's prediction step draws.

    Raises:
        ValueError: in setup, if the module is no model of text; in a pass, if the prompt has characters that the model has
            never seen.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, TextModule):
            raise ValueError(f"generate needs a model of text such as LanguageModel, got {type(pl_module).__name__}")
        data = trainer.datamodule  # type: ignore[attr-defined]
        vars(pl_module)["predict_step"] = partial(_generate, pl_module, data)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        vars(pl_module).pop("predict_step", None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "predict")  # Lightning calls teardown only after success

    def write(self, trainer: Trainer, pl_module: LightningModule, batches: list[Any], suffix: str) -> None:
        write_text(fresh_path(output_folder(trainer), "generated.txt"), batches[0] + "\n")


def _generate(module: TextModule, data: Prompt, *_args: Any) -> str:
    tokenizer = module.tokenizer
    if tokenizer is None:
        raise ValueError("the checkpoint holds no tokenizer: give a run of text/quickstart, as in generate -c RUN")
    unknown = tokenizer.unknown(data.prompt)
    if unknown:
        shown = ", ".join(f"{each!r}" for each in unknown)
        raise ValueError(f"prompt: the model has never seen {shown}; write it with characters of its training text")
    prompt = torch.tensor([tokenizer.encode(data.prompt)], device=module.device)
    context = module.network.context
    if context is not None:
        prompt = prompt[:, -context:]
    generator = torch.Generator(module.device).manual_seed(data.seed)
    stream = stream_tokens(module.drawn_from(), prompt, generator=generator, **data.sampling)
    sys.stdout.write(data.prompt)
    tokens: list[int] = []
    printed = ""
    for _ in range(data.tokens):
        tokens.append(int(next(stream)[0]))
        text = tokenizer.decode(tokens)
        # bytes that are no character yet wait for the rest of it
        ready = text.rstrip("".join(map(chr, range(0xDC80, 0xDD00))))
        sys.stdout.write(printable(ready[len(printed) :]))
        sys.stdout.flush()
        printed = ready
    text = printable(tokenizer.decode(tokens))
    sys.stdout.write(text[len(printed) :] + "\n")
    return data.prompt + text
