"""The language model that a generator starts from, and is compared with: read from a run, or trained first."""

import copy
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.data.streams import NO_TARGET, TextStreams
from discrete_lightning.data.text import TextData
from discrete_lightning.data.tokenizers import Tokenizer, tokenizer_of
from discrete_lightning.distributed import broadcast_, rank, world_size
from discrete_lightning.functional._precision import float32
from discrete_lightning.layers.recorded import NotRecordedError, made, recorded
from discrete_lightning.storage.digest import save_with_digest
from discrete_lightning.text.networks import GRUNetwork, TokenNetwork
from discrete_lightning.text.training.text_module import TextModule
from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.checkpoint_io import read_checkpoint
from discrete_lightning.training.checkpoints import find_checkpoint
from discrete_lightning.training.damage import CheckpointError, check_file
from discrete_lightning.training.run_files import fresh_path, has_own_folder, output_folder

_HYPER, _NETWORK = "hyper_parameters", "network."


def read_network(path: str) -> tuple[TokenNetwork, Tokenizer]:
    """The network and the tokenizer of a run of a model of text.

    Args:
        path: the run's folder, or a checkpoint.

    Raises:
        ValueError: if there is none, or it holds no model of text.
    """
    place = Path(path).expanduser()
    try:
        file = find_checkpoint("last", place) if place.is_dir() else find_checkpoint(str(place), None)
    except CheckpointError as error:
        raise ValueError(f"base={path!r}: {error}") from None
    try:
        check_file(file)
        values = read_checkpoint(file)
        found, state = values[_HYPER]["network"], values["tokenizer"]
        weights = {
            name[len(_NETWORK) :]: each for name, each in values["state_dict"].items() if name.startswith(_NETWORK)
        }
        network = made(found)
        assert isinstance(network, TokenNetwork)
        network.load_state_dict(weights)
        return network, tokenizer_of(state)
    except CheckpointError as error:
        raise ValueError(f"base={path!r}: {error}") from None
    except NotRecordedError as error:
        raise ValueError(f"base={path!r}: its network was {error}: start from a network of this package") from None
    except Exception as error:
        raise ValueError(
            f"base={path!r}: {file} holds no model of text ({type(error).__name__}: {error}): give the folder of a run of "
            "`discrete-lightning fit -c text/quickstart`, or null to train one first"
        ) from None


def write_network(path: Path, network: TokenNetwork, tokenizer: Tokenizer) -> None:
    """Writes a file that `read_network` reads."""
    weights = {f"{_NETWORK}{name}": each for name, each in network.state_dict().items()}
    values = {_HYPER: {"network": recorded(network)}, "state_dict": weights, "tokenizer": tokenizer.state()}
    with atomic_write(path) as file:
        save_with_digest(values, file)


def train_network(
    network: TokenNetwork,
    tokens: Tensor,
    *,
    epochs: float = 1.0,
    context: int = 32,
    rows: int = 32,
    learning_rate: float = 4e-3,
    say: bool = True,
) -> None:
    """Trains a network on a text, in place, as `LanguageModel` with the settings of text/quickstart does.

    Args:
        network: on any device.
        tokens: of the text, (N,).
        epochs: passes over the text.
        context: tokens of a window.
        rows: windows a step.
        learning_rate: of AdamW at the start; it falls to 0.
        say: whether to print how far it is.
    """
    device = next(network.parameters()).device
    data = TextStreams(tokens, context, min(rows, max(1, len(tokens) - 1)))
    windows = len(data) // data.rows
    steps = max(1, round(epochs * windows))
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    cache: Any = None
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        place = step % windows
        inputs, targets = (
            each.to(device) for each in data.__getitems__(range(place * data.rows, (place + 1) * data.rows))
        )
        logits, cache = network.logits(inputs, cache if place else None)
        cache = network.carried(cache)
        flat = float32(logits).flatten(0, 1)
        loss = nn.functional.cross_entropy(flat, targets.flatten(), ignore_index=NO_TARGET)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if say and (step + 1) % max(1, steps // 4) == 0:
            print(f"  base: step {step + 1} of {steps}, {float(loss.detach()):.2f} nats a token", flush=True)


class StartedModule(TextModule):
    """Base of the models that start from a language model: `network` is trained on, `reference` stays as it was.

    Without a base the network is trained on the data first, when `fit` is set up, and written to the run's folder, if there is
    one, as base.ckpt, which another run can start from.

    Args:
        base: folder of a run of a model of text, or a checkpoint; None: see above.
        network: what to train where there is no base; by default the network of text/quickstart, of the data's vocabulary.
        base_epochs: passes over the training text, > 0.

    Attributes:
        network: that is trained; its dropout is switched off, since a draw and the pass that scores it have to agree.
        reference: the language model, frozen.
    """

    def __init__(self, base: str | None = None, network: TokenNetwork | None = None, base_epochs: float = 1.0) -> None:
        super().__init__()
        if not base_epochs > 0:
            raise ValueError(f"base_epochs is more than 0, got {base_epochs}")
        self.base_epochs = base_epochs
        started = False
        if base is not None:
            network, self.tokenizer = read_network(base)
            started = True
        self.network = GRUNetwork(3072) if network is None else network
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # a draw and the pass that is differentiated have to agree
        self.started: Tensor
        self.ready: Tensor
        self.register_buffer("started", torch.tensor(started))
        self.register_buffer("ready", torch.tensor(False))
        self.reference = copy.deepcopy(self.network).eval().requires_grad_(False)
        # what a checkpoint holds needs no file of another run
        self.record(base=None, network=self.network)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        resumed = self.trainer.ckpt_path is not None
        if stage != "fit" or resumed or bool(self.ready):
            return
        if not bool(self.started):
            self._start()
        if rank() == 0:
            self.prepare(getattr(self.trainer, "datamodule", None))
        if world_size() > 1:
            for each in self.state_dict().values():
                broadcast_(each)
        self.reference.load_state_dict(self.network.state_dict())
        self.ready.fill_(True)

    def prepare(self, data: Any) -> None:
        """What is done to the language model before training, on rank 0; the others get the result."""

    def _start(self) -> None:
        """Trains the network on rank 0 and gives it to the others."""
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TextData):
            raise ValueError(
                f"{type(self).__name__} starts from a language model: give base, the folder of a run of text/quickstart, or "
                f"data of a TextData to train one on; the data is {type(data).__name__}"
            )
        tokens = data.tokens("train")
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            tokens = tokens[: 64 * 32]
        if rank() == 0:
            print(
                f"{type(self).__name__}: no base was given, so the language model is trained first, on {len(tokens):,} tokens "
                "(model.base, the folder of a run of text/quickstart, saves this)",
                flush=True,
            )
            train_network(self.network, tokens, epochs=self.base_epochs)
            keeps = has_own_folder(self.trainer) and not self.trainer.fast_dev_run  # type: ignore[attr-defined]
            if keeps and self.tokenizer is not None:
                path = fresh_path(output_folder(self.trainer), "base.ckpt")
                write_network(path, self.network, self.tokenizer)
                print(f"{type(self).__name__}: the language model is in {os.path.relpath(path)}", flush=True)
        self.started.fill_(True)

    def train(self, mode: bool = True) -> "StartedModule":
        super().train(mode)
        self.reference.eval()
        return self
