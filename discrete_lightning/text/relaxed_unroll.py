"""Lines that a network writes token by token, each token a row of a table with a gradient to the choice that made it.

A row feeds what reads the line (a judge), and the network itself at the next step. Through the second way a choice is also
blamed for what it led to, at the price of a backward pass through all steps. `through_last` cuts it: the rows that enter the
network are constants, save for those of the last steps. At 0 every choice is reached by what reads the line directly, and by
nothing else; the tokens are then drawn without a gradient, and one parallel pass over the finished line replaces the steps.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.functional._checks import as_indices
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import numbered_seed
from discrete_lightning.functional.straight_through import straight_through
from discrete_lightning.text.chosen_rows import Chosen, Tables
from discrete_lightning.text.networks.token_network import TokenNetwork
from discrete_lightning.text.token_choice import TokenChoice


class RelaxedUnroll(NamedTuple):
    """Lines as `relaxed_unroll` returns them.

    Attributes:
        rows: float32 (B, T, C), of the table; 0 after the end of a line.
        indices: int64 (B, T), the tokens; after the end of a line the end token.
        mask: bool (B, T), True up to the end token, that included.
    """

    rows: Tensor
    indices: Tensor
    mask: Tensor


class _Step(NamedTuple):
    chosen: Chosen
    alive: Tensor


def relaxed_unroll(
    network: TokenNetwork,
    choice: TokenChoice,
    prompt: Tensor,
    length: int,
    *,
    table: Tensor | None = None,
    end: int | None = None,
    through_last: int | None = None,
    generator: torch.Generator | None = None,
) -> RelaxedUnroll:
    """Continues prompts by `length` tokens, and returns the rows of the tokens with their gradient.

    With `through_last=k` the tokens before the last k steps are drawn without a gradient first; then one parallel pass over
    them gives the same hidden vectors with their gradient (values are those of the draw, bit for bit, so that the choices,
    made again from the same seeds, are the same tokens). The network must give equal hidden vectors both ways: no dropout.

    Memory: B T C for the rows, the network's own (a GRU B T H), and one block of logits; never T times V.

    Args:
        network: makes hidden vectors; its head makes logits, its embedding takes the rows.
        choice: how a token is chosen. In eval() tokens are discrete, and rows have a gradient to the table alone.
        prompt: integers (B, P), P >= 1.
        length: T >= 1, tokens of a line.
        table: (V, C), of what reads the line; by default the network's own. Both are looked up at once.
        end: the token that ends a line; what follows it is not counted, and has no gradient. None: lines have T tokens.
        through_last: the number of last steps whose input rows carry a gradient to the choices before, 0 to T - 1; None:
            all.
        generator: source of randomness; by default the default one, mixed with the rank.

    Raises:
        ValueError: if a shape or an argument is out of its range.

    Example:
        >>> from discrete_lightning.text import GRUNetwork
        >>> _ = torch.manual_seed(0)
        >>> network = GRUNetwork(vocabulary=10, dim=8, hidden_dim=16)
        >>> lines = relaxed_unroll(network, TokenChoice(), torch.zeros(2, 1, dtype=torch.int64), length=5)
        >>> lines.rows.shape, lines.indices.shape, lines.rows.requires_grad
        (torch.Size([2, 5, 8]), torch.Size([2, 5]), True)
    """
    check_at_least(1, length=length)
    prompt = as_indices(prompt, "prompt")
    if prompt.ndim != 2 or not prompt.shape[1]:
        raise ValueError(f"prompts are integers (B, P) with P >= 1, got shape {tuple(prompt.shape)}")
    last = length - 1 if through_last is None else through_last
    if not 0 <= last < length:
        raise ValueError(f"through_last is a number of steps from 0 to length - 1 = {length - 1}, got {through_last}")
    if table is not None and (table.ndim != 2 or len(table) != network.vocabulary):
        raise ValueError(
            f"the table has one row for each of the network's V={network.vocabulary} tokens, got shape {tuple(table.shape)}: "
            "a judge must have been trained with the network's tokenizer"
        )
    steps = _Steps(network, choice, table, end, choice.new_seed(generator))
    first = length - last  # tokens whose hidden vectors come from one parallel pass
    return steps.run(prompt, length, first)


class _Steps:
    """The steps of one unroll."""

    def __init__(
        self, network: TokenNetwork, choice: TokenChoice, table: Tensor | None, end: int | None, seed: int
    ) -> None:
        self.network, self.choice, self.end, self.seed = network, choice, end, seed
        own, head = network.embedding.weight, network.head
        weight = float32(head.weight)  # cast once, not once a step
        bias = weight.new_zeros(len(own)) if head.bias is None else float32(head.bias)
        rows = weight if own is head.weight else float32(own)
        self.tables = Tables(weight, bias, (rows,) if table is None else (rows, table.to(weight.dtype)))
        self.dtype = own.dtype

    def run(self, prompt: Tensor, length: int, first: int) -> RelaxedUnroll:
        entered = self.network.embedding.look_up(prompt)
        alive = torch.ones(len(prompt), dtype=torch.bool, device=prompt.device)
        if first == 1:
            hidden, cache = self.network.hidden(entered)
            steps = [self._alive(self._choose(hidden[:, -1], 0), alive)]
        else:
            steps, cache = self._draw(entered, first, alive)
        for t in range(first, length):
            row, alive = self._input(steps[-1]), self._still(steps[-1])
            hidden, cache = self.network.hidden(row, cache)
            steps.append(self._alive(self._choose(hidden[:, -1], t), alive))
        rows, indices, mask = zip(
            *((each.chosen.rows[-1], each.chosen.indices, each.alive) for each in steps), strict=True
        )
        return RelaxedUnroll(torch.stack(rows, 1), torch.stack(indices, 1), torch.stack(mask, 1))

    def _draw(self, entered: Tensor, first: int, alive: Tensor) -> tuple[list[_Step], Any]:
        """The first steps: drawn without a gradient, then made again from the hidden vectors of one parallel pass."""
        drawn, inputs, steps, cache = [], [entered], [], None
        with torch.no_grad():
            for t in range(first):
                hidden, cache = self.network.hidden(inputs[-1], cache)
                drawn.append(hidden[:, -1])
                steps.append(self._alive(self._choose(drawn[-1], t), alive))
                inputs.append(self._input(steps[-1]))
                alive = self._still(steps[-1])
        if not torch.is_grad_enabled():
            return steps, cache
        hidden, cache = self.network.hidden(torch.cat([entered, *inputs[1:-1]], 1))
        hidden = straight_through(torch.stack(drawn, 1), hidden[:, entered.shape[1] - 1 :])
        again = [self._alive(self._choose(hidden[:, t], t, each.chosen), each.alive) for t, each in enumerate(steps)]
        return again, cache

    def _choose(self, hidden: Tensor, t: int, known: Chosen | None = None) -> Chosen:
        chosen = self.choice.step(hidden, self.tables, numbered_seed(self.seed, t), known)
        self.tables = chosen.tables
        return chosen

    def _alive(self, chosen: Chosen, alive: Tensor) -> _Step:
        """The step without what comes after the end of a line."""
        if self.end is not None:
            rows = tuple(torch.where(alive.unsqueeze(-1), each, torch.zeros_like(each)) for each in chosen.rows)
            chosen = chosen._replace(rows=rows, indices=torch.where(alive, chosen.indices, self.end))
        return _Step(chosen, alive)

    def _still(self, step: _Step) -> Tensor:
        return step.alive if self.end is None else step.alive & (step.chosen.indices != self.end)

    def _input(self, step: _Step) -> Tensor:
        return step.chosen.rows[0].to(self.dtype).unsqueeze(1)
