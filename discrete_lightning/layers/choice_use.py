"""How often each category was chosen, or each gate open, and how undecided the choices were: sums over forward passes.

usage_i            share of category i among all choices, or of the positions at which gate i is open
choice_entropy     mean over positions of H(p_n), p_n = softmax(logits_n), or sigmoid for a gate; in nats
marginal_entropy   H(mean over positions of p_n)
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from discrete_lightning.distributed import all_gather_rows, all_reduce_sum, world_size
from discrete_lightning.functional._mask import positions_mask
from discrete_lightning.layers.choices import Choices
from discrete_lightning.layers.usage import count_indices

_BLOCK = 1 << 22  # probabilities computed at a time: bounds the memory of many categories


class ChoiceUse:
    """Counts on the device of the choices. Their memory does not grow with passes, and no value is read on the host.

    Where K differs between passes (choices among the positions of sequences), the largest is kept.

    Args:
        are_gates: whether gates are counted, and not categories.
        device: of the counts.

    Example:
        >>> use = ChoiceUse(are_gates=False, device="cpu")
        >>> use.add(Choices(torch.tensor([[0], [0], [2]]), size=4, logits=torch.zeros(3, 4)))
        >>> {name: round(value.item(), 4) for name, value in use.figures().items()}  # doctest: +NORMALIZE_WHITESPACE
        {'live_share': 0.5, 'perplexity': 1.8899, 'load_violation': 1.6667, 'dominant_share': 0.6667,
         'choice_entropy': 1.3863, 'marginal_entropy': 1.3863}
    """

    def __init__(self, are_gates: bool, device: torch.device | str) -> None:
        self.are_gates = are_gates
        each = (0,) if are_gates else ()  # each gate has its own number of positions, categories share one
        self.chosen = torch.zeros(0, dtype=torch.int64, device=device)
        self.positions = torch.zeros(each, dtype=torch.int64, device=device)
        self.measured = torch.zeros(each, dtype=torch.int64, device=device)
        self.probability = torch.zeros(0, dtype=torch.float32, device=device)
        self.nats = torch.zeros(each, dtype=torch.float32, device=device)

    def state(self) -> dict[str, Any]:
        """Its counts and sums, on the CPU."""
        return {name: each.cpu() if isinstance(each, Tensor) else each for name, each in vars(self).items()}

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> Self:
        """The use of a `state`."""
        use = cls(state["are_gates"], device)
        for name, each in state.items():
            setattr(use, name, each.to(device) if isinstance(each, Tensor) else each)
        return use

    @property
    def size(self) -> int:
        """K, or the number of gates."""
        return len(self.chosen)

    def resize(self, size: int) -> Self:
        """Makes room for `size` categories or gates; those there are kept."""
        if size > self.size:
            for name, value in vars(self).items():
                if isinstance(value, Tensor) and value.ndim:
                    setattr(self, name, torch.nn.functional.pad(value, (0, size - len(value))))
        return self

    @torch.no_grad()
    def add(self, choices: Choices, measure: bool = True) -> None:
        """Adds the choices of a pass.

        Args:
            choices: positions where their mask is False do not count.
            measure: whether to compute the entropies, which needs a softmax over all logits.
        """
        size = choices.size
        self.resize(size)
        counted = _counted(choices)
        here = slice(size) if self.are_gates else ...
        positions = counted.sum()
        if self.are_gates:
            self.chosen[:size] += (choices.chosen & counted.unsqueeze(-1)).reshape(-1, size).sum(0)
        else:
            self.chosen[:size] += count_indices(choices.chosen, size, None if choices.mask is None else counted)
        self.positions[here] += positions
        if measure and choices.logits is not None:
            self.measured[here] += positions
            self._measure(choices.logits.detach().reshape(-1, size), counted.reshape(-1))

    def _measure(self, logits: Tensor, counted: Tensor) -> None:
        size = logits.shape[1]
        rows = max(1, _BLOCK // size)
        for part, kept in zip(logits.split(rows), counted.split(rows), strict=True):
            if self.are_gates:
                p = torch.sigmoid(part.float())
                nats = torch.special.entr(p) + torch.special.entr(1 - p)
            else:
                p = torch.softmax(part.float(), -1)
                nats = torch.special.entr(p).sum(-1, keepdim=True)
            # where, not a product: the value at a masked position may be NaN
            self.probability[:size] += torch.where(kept.unsqueeze(1), p, 0).sum(0)
            summed = torch.where(kept.unsqueeze(1), nats, 0).sum(0)
            if self.are_gates:
                self.nats[:size] += summed
            else:
                self.nats += summed.squeeze(0)

    def usage(self) -> Tensor:
        """Share of each category among all choices, or of the positions at which each gate is open; float32 (size,)."""
        total = self.positions if self.are_gates else self.chosen.sum()
        return self.chosen / total.clamp_min(1)

    def figures(self) -> dict[str, Tensor]:
        """0-dim float32 figures by name.

        Categories: `live_share` (chosen at least once), `perplexity` (exp of the entropy of usage), `load_violation` (most
        frequent / mean - 1), `dominant_share` (share of positions that take the most frequent category). Gates: `open_share`,
        and the shares of gates that were open at all positions (`always_open_share`) or at none (`always_closed_share`). Where
        logits were seen `choice_entropy` and `marginal_entropy`, in nats; of gates the mean over gates.
        """
        usage = self.usage()
        if self.are_gates:
            seen = self.positions > 0
            figures = {
                "open_share": self.chosen.sum() / self.positions.sum().clamp_min(1),
                "always_open_share": ((self.chosen == self.positions) & seen).float().mean(),
                "always_closed_share": ((self.chosen == 0) & seen).float().mean(),
            }
        else:
            figures = {
                "live_share": (usage > 0).float().mean(),
                "perplexity": torch.special.entr(usage).sum().exp(),
                "load_violation": (self.size * usage.max() - 1).clamp_min(0),
                "dominant_share": self.chosen.max() / self.positions.clamp_min(1),
            }
        if self.measured.sum():
            mean = (self.probability / self.measured.clamp_min(1)).clamp(0, 1)
            marginal = torch.special.entr(mean)
            if self.are_gates:
                marginal = (marginal + torch.special.entr(1 - mean)).mean()
            figures["choice_entropy"] = self.nats.sum() / self.measured.sum()
            figures["marginal_entropy"] = marginal.sum()
        return figures

    def summed(self) -> Self:
        """The use over all ranks, which must have equal sizes; a collective call."""
        whole = type(self)(self.are_gates, self.chosen.device)
        for names in (("chosen", "positions", "measured"), ("probability", "nats")):
            parts = [vars(self)[name] for name in names]
            flat = all_reduce_sum(torch.cat([part.reshape(-1) for part in parts]))
            for name, part, total in zip(names, parts, flat.split([part.numel() for part in parts]), strict=True):
                setattr(whole, name, total.view_as(part))
        return whole


def over_ranks(uses: Sequence[ChoiceUse | None], device: torch.device) -> list[ChoiceUse | None]:
    """The uses of several layers over all ranks; None for a layer that no rank saw. A collective call.

    All ranks give the same layers in the same order. A rank that did not see a layer gives None, and still takes part.
    """
    if world_size() == 1 or not uses:
        return list(uses)
    mine = [[each.size, int(each.are_gates)] if each else [0, 0] for each in uses]
    shapes = all_gather_rows(torch.tensor([mine], device=device)).amax(0).tolist()
    result: list[ChoiceUse | None] = []
    for use, (size, are_gates) in zip(uses, shapes, strict=True):
        result.append((use or ChoiceUse(bool(are_gates), device)).resize(size).summed() if size else None)
    return result


def _counted(choices: Choices) -> Tensor:
    """Whether each position counts: bool, of the leading shape of the choices."""
    positions = choices.chosen.shape[:-1]
    if choices.mask is None:
        return torch.ones(positions, dtype=torch.bool, device=choices.chosen.device)
    return positions_mask(choices.mask, positions)
