"""The next token as a discrete choice with a gradient: hidden vector to logits, a sample by any estimator, its row of a table.

    logits = h W^T + b,   y = estimator(logits, tau),   row = y @ table

It is `functional.gumbel_lookup` for every estimator, made for unrolls: see `text/chosen_rows.py`.
"""

from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from discrete_lightning.distributed import rank_generator
from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import gumbel_lookup, largest_logit
from discrete_lightning.functional._checks import check_finite, host_number
from discrete_lightning.functional._keyed import KeyedGenerator, examples_in_force, is_keyed, spread
from discrete_lightning.functional._precision import float32, float32_matmul, without_autocast
from discrete_lightning.functional._random import draw_seed, numbered_seed
from discrete_lightning.layers.relaxed import Evaluation, RelaxedCategorical
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.text.chosen_rows import Chosen, Tables, chosen_rows


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

    def choose(
        self, hidden: Tensor, weight: Tensor, bias: Tensor, table: Tensor, *, seed: int | None = None
    ) -> ChosenRows:
        """Tokens after hidden vectors, as rows of a table.

        Args:
            hidden: (N, H), any floating dtype.
            weight: W (V, H) of the head.
            bias: b (V,).
            table: (V, C).
            seed: of the noise, which depends on it alone: the same call with the same seed gives the same rows.

        Raises:
            ValueError: if the shapes do not fit, or hidden vectors are not finite.
        """
        if not len(weight) == len(bias) == len(table) or hidden.ndim != 2 or hidden.shape[1:] != weight.shape[1:]:
            raise ValueError(
                f"hidden (N, H), weight (V, H), bias (V,) and table (V, C) do not fit: got {tuple(hidden.shape)}, "
                f"{tuple(weight.shape)}, {tuple(bias.shape)}, {tuple(table.shape)}"
            )
        check_finite(hidden, "TokenChoice")
        dtype = float32(hidden[:0]).dtype
        found = self.step(hidden, Tables(weight.to(dtype), bias.to(dtype), (table.to(dtype),)), seed)
        return ChosenRows(found.rows[0], found.indices)

    @without_autocast
    @float32_matmul
    def step(self, hidden: Tensor, tables: Tables, seed: int | None = None, known: Chosen | None = None) -> Chosen:
        """`choose` for several tables (float32, or float64 of a float64 network), as one step of an unroll.

        Args:
            hidden: (N, H).
            tables: those that the step before returned.
            seed: of the noise.
            known: the result of this step, if it was made before, without a gradient.
        """
        x = hidden.to(tables.weight.dtype)
        if not self.training:
            return self._looked_up(x, tables, seed)
        rows = _rows(len(x)) if is_keyed() else None
        if torch.compiler.is_compiling() or self.is_watched:  # whoever follows the layer's calls needs one
            generator = None if seed is None else _generator(seed, x.device, rows)
            sample = self(torch.addmm(tables.bias, x, tables.weight.t()), generator)
            return Chosen(tuple(sample @ each for each in tables.tables), sample.detach().argmax(-1), tables)
        seed = self.new_seed() if seed is None else seed
        tau = self.temperature().to(x)
        sample = partial(self._sample, rows=rows)
        return chosen_rows(x, tau, tables, sample, seed, hard=self.estimator.hard, known=known)

    def _sample(self, logits: Tensor, tau: Tensor, seed: int, start: int, rows: Tensor | None) -> Tensor:
        if rows is None:
            generator = _generator(numbered_seed(seed, start), logits.device)
        else:
            generator = _generator(seed, logits.device, rows[start : start + len(logits)])
        if type(self.estimator).__module__.startswith("discrete_lightning."):
            return self.estimator(logits, tau, generator)
        with torch.random.fork_rng([logits.device] if logits.device.type == "cuda" else []):
            torch.manual_seed(numbered_seed(seed, start))  # one of the user's may draw from the default generator
            return self.estimator(logits, tau, generator)

    def _looked_up(self, x: Tensor, tables: Tables, seed: int | None) -> Chosen:
        """What eval() gives: no gradient to the hidden vectors."""
        with torch.no_grad():
            if self.evaluation == "mode":
                indices = largest_logit(x, tables.weight, tables.bias)
            else:
                seed = self.new_seed() if seed is None else seed
                generator = _generator(seed, x.device if is_keyed() else "cpu", _rows(len(x)) if is_keyed() else None)
                indices = gumbel_lookup(x, *tables[:2], tables.bias.unsqueeze(1), generator=generator).indices
        rows = tuple(torch.nn.functional.embedding(indices, each) for each in tables.tables)
        return Chosen(rows, indices, tables)


def _rows(count: int) -> Tensor:
    """What tells hidden vectors (N, H) apart in keyed noise."""
    examples = examples_in_force()
    return spread(examples, torch.arange(count, device=examples.device), count)


def _generator(seed: int, device: torch.device | str, rows: Tensor | None = None) -> torch.Generator:
    """A generator of the seed, for keyed rows if they are given."""
    if rows is not None:
        return cast(torch.Generator, KeyedGenerator(torch.tensor(seed), rows))
    return torch.Generator(device).manual_seed(seed)
