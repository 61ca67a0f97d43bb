"""The next token as a discrete choice with a gradient: hidden vector to logits, a sample by any estimator, its row of a table.

    logits = h W^T + b,   y = estimator(logits, tau),   row = y @ table

Logits and samples (N, V) exist for one block of hidden vectors at a time; the backward pass makes them again, with the same
noise, from a seed (as `functional.gumbel_lookup`, which does it for the Gumbel-softmax).
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from discrete_lightning.distributed import rank_generator
from discrete_lightning.estimators import Estimator, GumbelSoftmax, StraightThroughGumbel
from discrete_lightning.functional import gumbel_lookup, largest_logit
from discrete_lightning.functional._checks import host_number
from discrete_lightning.functional._precision import float32, float32_matmul, without_autocast
from discrete_lightning.functional._random import draw_seed, numbered_seed
from discrete_lightning.layers.relaxed import Evaluation, RelaxedCategorical
from discrete_lightning.layers.relaxed_embedding import embed
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.text.recomputed import recomputed

_ELEMENTS = 1 << 19  # logits held at a time: 2 MiB of float32 a tensor on the CPU
_ACCELERATOR_ELEMENTS = 1 << 26


class ChosenRows(NamedTuple):
    """What `TokenChoice.choose` returns.

    Attributes:
        rows: float32 (N, C), y @ table with the estimator's gradient; in eval() rows of the table.
        indices: int64 (N,), the token: the largest entry of y.
    """

    rows: Tensor
    indices: Tensor


class TokenChoice(RelaxedCategorical):
    """Hidden vectors to the rows of the tokens that are chosen, by any estimator whose samples carry a gradient.

    `choose` does it in bounded memory. Called with logits (..., V), it is a `RelaxedCategorical`: samples (..., V).

    Args:
        estimator: StraightThroughGumbel by default.
        temperature: a Temperature, or a number for a new one.
        evaluation: what `eval()` gives: the most likely token ("mode") or an exact draw ("draw").

    Raises:
        ValueError: if the estimator's samples carry no gradient.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> head, table = torch.nn.Linear(4, 10), torch.randn(10, 6)
        >>> chosen = TokenChoice().choose(torch.randn(3, 4), head.weight, head.bias, table)
        >>> chosen.rows.shape, torch.equal(chosen.rows, table[chosen.indices])
        (torch.Size([3, 6]), True)
    """

    def __init__(
        self,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
        evaluation: Evaluation = "mode",
    ) -> None:
        super().__init__(estimator, temperature, evaluation, samples_only=True)

    def new_seed(self, generator: torch.Generator | None = None) -> int:
        """A seed for `choose`; by default from the default generator, mixed with the rank where there are several."""
        return int(host_number(draw_seed(rank_generator(torch.device("cpu")) if generator is None else generator)))

    @without_autocast
    @float32_matmul  # the draw decides what follows
    def choose(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        table: Tensor,
        *,
        seed: int | None = None,
        known: Tensor | None = None,
    ) -> ChosenRows:
        """Tokens after hidden vectors, as rows of a table.

        Args:
            hidden: (N, H), any floating dtype.
            weight: W (V, H) of the head.
            bias: b (V,).
            table: (V, C).
            seed: of the noise, which depends on it alone: the same call with the same seed gives the same rows.
            known: the rows (N, C), if this call was made before, without a gradient: they are not computed again.

        Returns:
            Rows and indices. With `known` the indices are not computed either: they are empty.

        Raises:
            ValueError: if the shapes do not fit, or logits are not finite.
        """
        if not len(weight) == len(bias) == len(table) or hidden.ndim != 2 or hidden.shape[1:] != weight.shape[1:]:
            raise ValueError(
                f"hidden (N, H), weight (V, H), bias (V,) and table (V, C) do not fit: got {tuple(hidden.shape)}, "
                f"{tuple(weight.shape)}, {tuple(bias.shape)}, {tuple(table.shape)}"
            )
        x = float32(hidden)
        weight, bias, table = (each.to(x.dtype) for each in (weight, bias, table))
        if not self.training:
            return self._looked_up(x, weight, bias, table, seed)
        if torch.compiler.is_compiling() or self.is_watched:  # whoever follows the layer's calls needs one
            sample = self(torch.addmm(bias, x, weight.t()), None if seed is None else _generator(seed, x.device))
            return ChosenRows(sample @ table, sample.detach().argmax(-1))
        seed = self.new_seed() if seed is None else seed
        tau = self.temperature().to(x)
        if isinstance(self.estimator, StraightThroughGumbel | GumbelSoftmax):
            look_up = partial(_look_up, seed=seed, hard=isinstance(self.estimator, StraightThroughGumbel))
            if known is not None:
                rows = recomputed(lambda *tensors: look_up(*tensors).rows, x, weight, bias, table, tau, known=known)
                return ChosenRows(rows, _no_indices(x))
            return look_up(x, weight, bias, table, tau)
        return self._in_blocks(x, weight, bias, table, tau, seed, known)

    def _in_blocks(
        self, x: Tensor, weight: Tensor, bias: Tensor, table: Tensor, tau: Tensor, seed: int, known: Tensor | None
    ) -> ChosenRows:
        rows, indices = [], []
        held = _ELEMENTS if x.device.type == "cpu" else _ACCELERATOR_ELEMENTS
        step = max(1, held // len(weight))
        for start in range(0, max(1, len(x)), step):
            function = partial(_sampled, estimator=self.estimator, seed=numbered_seed(seed, start))
            part = x[start : start + step]
            if known is None:
                with torch.no_grad():
                    sample = function(part, weight, bias, table[:, :0], tau, sample=True)
                    indices.append(sample.argmax(-1))
                    block = embed(sample, table, relaxed=not self.estimator.hard)
                    del sample
            else:
                block = known[start : start + step]
            rows.append(recomputed(function, part, weight, bias, table, tau, known=block))
        found = torch.cat(indices) if indices else _no_indices(x)
        return ChosenRows(rows[0] if len(rows) == 1 else torch.cat(rows), found)

    def _looked_up(self, x: Tensor, weight: Tensor, bias: Tensor, table: Tensor, seed: int | None) -> ChosenRows:
        """What eval() gives: no gradient to the hidden vectors."""
        with torch.no_grad():
            if self.evaluation == "mode":
                indices = largest_logit(x, weight, bias)
            else:
                seed = self.new_seed() if seed is None else seed
                indices = _look_up(x, weight, bias, table[:, :1], torch.ones_like(x[:0].sum()), seed=seed).indices
        return ChosenRows(torch.nn.functional.embedding(indices, table), indices)


def _look_up(
    x: Tensor, weight: Tensor, bias: Tensor, table: Tensor, tau: Tensor, *, seed: int, hard: bool = True
) -> ChosenRows:
    found = gumbel_lookup(x, weight, bias, table, tau, hard=hard, generator=_generator(seed, torch.device("cpu")))
    return ChosenRows(found.quantized, found.indices)


def _sampled(
    x: Tensor, weight: Tensor, bias: Tensor, table: Tensor, tau: Tensor, *,
    estimator: Estimator, seed: int, sample: bool = False,
) -> Tensor:  # fmt: skip
    """Rows of one block, or the samples themselves."""
    logits = torch.addmm(bias, x, weight.t())
    if type(estimator).__module__.startswith("discrete_lightning."):
        y = estimator(logits, tau, _generator(seed, x.device))
    else:  # one of the user's may draw from the default generator
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            y = estimator(logits, tau, _generator(seed, x.device))
    return y if sample else y @ table


def _generator(seed: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device=device).manual_seed(seed)


def _no_indices(x: Tensor) -> Tensor:
    return torch.empty(0, dtype=torch.int64, device=x.device)
