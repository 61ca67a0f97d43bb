"""Local search in several directions at once: every sequence that is evaluated counts in all of them.

The gradient of each oracle predicts the scores of an edited sequence, and with them how good it is in a direction. A round
makes proposals in the directions that gained most of late.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.directions import directed_scores
from discrete_lightning.design.search.sequence_keys import KEY_BYTES, sequence_keys
from discrete_lightning.layers.constant_buffers import ConstantBuffers

_BEAM = 8  # members for each direction
_PROPOSALS = 8  # for each direction of a round
_ACTIVE = 2  # directions of a round
_TRIES = 4  # perturbed sequences for each that is wanted
_FORGET = 0.5  # of the gain of a direction that was active


class DirectedBeams(ConstantBuffers):
    """The best sequences of each direction, with the gradients of all objectives.

    Args:
        problem: its oracle is a WeightedSum of `objectives` oracles.
        weights: the directions, float32 (directions, objectives).

    Attributes:
        tokens, values, slopes: of the members: int64 (n, length), float32 (n, objectives), (n, objectives, length, letters).
        gains: how much each direction gained of late, (directions,).
        seen: the keys of all sequences that were evaluated.
    """

    tokens: Tensor
    values: Tensor
    slopes: Tensor
    gains: Tensor
    weights: Tensor

    def __init__(self, problem: DesignProblem, weights: Tensor) -> None:
        super().__init__()
        self._problem = [problem]  # the search's own, not a part of this module
        objectives, length = weights.shape[1], problem.length
        self.register_constant("weights", weights)
        self.register_buffer("gains", torch.full((len(weights),), torch.inf, dtype=torch.float32))
        self.register_buffer("tokens", torch.zeros(0, length, dtype=torch.int64))
        self.register_buffer("values", torch.zeros(0, objectives, dtype=torch.float32))
        shape = (0, objectives, length, len(problem.alphabet))
        self.register_buffer("slopes", torch.zeros(shape, dtype=torch.float32))
        self.seen: set[bytes] = set()

    def reset_parameters(self) -> None:
        """No members, as at the start; after `to_empty` of a search that was begun on the meta device."""
        self.gains.fill_(torch.inf)

    def scores(self, values: Tensor, edits: Tensor, reference: Tensor, ranges: Tensor) -> Tensor:
        """How good points are in each direction, (directions, ...), less the price of their edits in the same units.

        Args:
            values: (..., objectives).
            edits: the number of letters that differ from a template, (...).
            reference: see `directed_scores`.
            ranges: see `directed_scores`.
        """
        weights = self.weights.view(len(self.weights), *[1] * (values.ndim - 1), -1)
        return directed_scores(values, weights, reference, ranges) - self.price(edits, ranges)

    def price(self, edits: Tensor, ranges: Tensor) -> Tensor:
        """edit_weight * edits, in units of the weighted ranges."""
        oracle: Any = self._problem[0].evaluator.oracle
        return self._problem[0].start.edit_weight * edits.to(torch.float32) / (oracle.weights.abs() * ranges).sum()

    def add(self, tokens: Tensor, values: Tensor, slopes: Tensor, reference: Tensor, ranges: Tensor) -> None:
        """Takes evaluated sequences in, keeps the best of each direction, and counts what the directions gained."""
        problem = self._problem[0]
        good = (values > -torch.inf).all(1) & slopes.isfinite().flatten(1).all(1)
        before = len(self.tokens)
        self.tokens = torch.cat([self.tokens, tokens[good]])
        self.values = torch.cat([self.values, values[good]])
        self.slopes = torch.cat([self.slopes, slopes[good]])
        self.seen.update(sequence_keys(tokens))
        if not len(self.tokens):
            return
        scores = self.scores(self.values, problem.edits(self.tokens), reference, ranges)
        if before:
            gain = (scores.amax(1) - scores[:, :before].amax(1)).clamp_min(0.0)
            self.gains += gain  # a direction that was never active stays first
        best = scores.topk(min(_BEAM, len(self.tokens)), 1).indices.flatten().unique()
        self.tokens, self.values, self.slopes = self.tokens[best], self.values[best], self.slopes[best]

    def propose(self, reference: Tensor, ranges: Tensor, left: int, generator: torch.Generator) -> Tensor:
        """New sequences (n, length), n <= left, that satisfy all constraints; none if there are no others nearby.

        Args:
            reference: see `directed_scores`.
            ranges: see `directed_scores`.
            left: the number of evaluations left.
            generator: source of randomness of the perturbations.
        """
        active = self.gains.argsort(descending=True, stable=True)[:_ACTIVE].tolist()
        scores = self.scores(self.values, self._problem[0].edits(self.tokens), reference, ranges)
        found: list[Tensor] = []
        for direction in active:
            order = scores[direction].topk(min(_BEAM, len(self.tokens))).indices
            own = self._edited(direction, order, reference, ranges)
            found += own or self._perturbed(int(order[0]), generator)
            self.gains[direction] = _FORGET * self.gains[direction].nan_to_num(0.0, 0.0, 0.0)
        if not found:  # the active ones are exhausted
            for member in range(len(self.tokens)):
                found += self._perturbed(member, generator)
        found = found[:left]
        return torch.stack(found) if found else self.tokens[:0]

    def _edited(self, direction: int, order: Tensor, reference: Tensor, ranges: Tensor) -> list[Tensor]:
        """The new edits of members that are predicted to be best, several edits of the best member at once among them."""
        problem, weights = self._problem[0], self.weights[direction]
        tokens, values = self.tokens[order], self.values[order]
        change = self.slopes[order]
        change = change - change.gather(-1, tokens[:, None, :, None].expand(*change.shape[:3], 1))
        edited = values[:, :, None, None] + change  # (members, objectives, length, letters)
        edits = torch.zeros(change.shape[0], *change.shape[2:], dtype=torch.int64, device=tokens.device)
        if problem.template is not None:
            differs = (torch.arange(change.shape[-1], device=tokens.device) != problem.template[:, None]).long()
            now = (tokens != problem.template).long()
            edits = problem.edits(tokens).view(-1, 1, 1) + differs - now.unsqueeze(-1)
        predicted = directed_scores(edited.movedim(1, -1), weights, reference, ranges) - self.price(edits, ranges)
        predicted = predicted.masked_fill(~problem.allowed, -torch.inf).scatter(-1, tokens.unsqueeze(-1), -torch.inf)
        found: list[Tensor] = []
        together = self._together(direction, order[0], predicted[0], change[0], reference, ranges)
        if len(together):
            self._take_new(together, found)
        flat = predicted.flatten().nan_to_num(-torch.inf)
        letters, width = flat.numel() // len(tokens) // tokens.shape[1], flat.numel() // len(tokens)
        possible, taken, size = int(flat.isfinite().sum()), 0, 8 * _PROPOSALS
        while taken < possible and len(found) < _PROPOSALS:
            chosen = flat.topk(min(size, possible)).indices[taken:]
            rows, place = tokens[chosen // width].clone(), chosen % width
            rows[torch.arange(len(rows), device=rows.device), place // letters] = place % letters
            self._take_new(rows, found)
            taken, size = min(size, possible), 4 * size
        return found

    def _together(
        self, direction: int, member: Tensor, predicted: Tensor, change: Tensor, reference: Tensor, ranges: Tensor
    ) -> Tensor:
        """The best 2, 4, 8 ... edits of one member at once, as long as the prediction improves with their number."""
        problem, weights = self._problem[0], self.weights[direction]
        tokens, values = self.tokens[member], self.values[member]
        now = directed_scores(values, weights, reference, ranges) - self.price(problem.edits(tokens), ranges)
        best, letter = predicted.max(-1)
        order = best.argsort(descending=True, stable=True)
        order = order[best[order] > now]
        gains = change.gather(-1, letter[None, :, None].expand(len(values), -1, 1)).squeeze(-1)[:, order]
        rows, last, size = [], -torch.inf, 2
        while size <= len(order):
            row = tokens.clone()
            row[order[:size]] = letter[order[:size]]
            score = directed_scores(values + gains[:, :size].sum(1), weights, reference, ranges)
            value = float(score - self.price(problem.edits(row), ranges))
            if value <= last:
                break
            rows.append(row)
            last, size = value, 2 * size
        return torch.stack(rows[::-1]) if rows else tokens[:0].view(0, len(tokens))

    def _take_new(self, rows: Tensor, found: list[Tensor]) -> None:
        rows = rows[self._problem[0].feasible(rows)]
        for row, key in zip(rows, sequence_keys(rows), strict=True):
            if key not in self.seen and len(found) < _PROPOSALS:
                self.seen.add(key)
                found.append(row)

    def _perturbed(self, member: int, generator: torch.Generator) -> list[Tensor]:
        """A member with an eighth of its letters drawn anew, or with half of its edits undone."""
        problem, row = self._problem[0], self.tokens[member]
        shape = (_TRIES * _PROPOSALS, problem.length)
        chance = torch.rand(shape, dtype=torch.float32, generator=generator, device=row.device)
        if problem.template is not None:
            rows = torch.where(chance < 0.5, problem.template, row)
        else:
            many = problem.allowed.float().expand(len(chance), -1, -1).flatten(0, 1)
            drawn = torch.multinomial(many, 1, generator=generator).view(shape)
            rows = torch.where(chance < max(0.125, 1.5 / problem.length), drawn, row)
        found: list[Tensor] = []
        self._take_new(rows, found)
        return found

    def get_extra_state(self) -> dict[str, Any]:
        """The keys, as bytes."""
        return {"seen": torch.frombuffer(bytearray(b"".join(sorted(self.seen)) or b"\0"), dtype=torch.uint8)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_extra_state` returned."""
        keys = state["seen"].cpu().numpy().tobytes()
        self.seen = {keys[i : i + KEY_BYTES] for i in range(0, len(keys) - KEY_BYTES + 1, KEY_BYTES)}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Gives the members the number of the saved ones before they are loaded."""
        for name in ("tokens", "values", "slopes"):
            if (saved := state_dict.get(prefix + name)) is not None:
                buffer = getattr(self, name)
                setattr(self, name, buffer.new_zeros(len(saved), *buffer.shape[1:]))
        super()._load_from_state_dict(state_dict, prefix, *args)
