"""The least number of substitutions, insertions and deletions that turn a template into a design of fixed length.

The oracle's window has L letters. Right of the template lies its flank: deletions move the flank into the window, insertions
move the last letters out of it. With the reference R = template + flank, a design x and a greatest shift s,

    edits(x) = min over m of lev_s(R[:m], x[:i]),   i = L, or m = |R| and any i <= L

where lev_s is the edit distance of Levenshtein (1966) over the alignments that shift no letter by more than s places. The end
of the reference is free (the letters that left the window), and so are letters that enter after its end. By dynamic
programming (Wagner and Fischer 1974, https://doi.org/10.1145/321796.321811) within the band |i - j| <= s (Ukkonen 1985,
https://doi.org/10.1016/S0019-9958(85)80046-2)

    B[i, j] = min(B[i+1, j+1] + (x_i != R_j),  B[i+1, j] + 1,  B[i, j+1] + 1),   B[L, j] = 0,   B[i, |R|] = 0

for the design from i on and the reference from j on, and edits(x) = B[0, 0]. With the table D of the beginnings, D and B
together give the edits after every single substitution, insertion and deletion of x at once.
"""

from typing import Final

import torch
from torch import Tensor

from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device

_FAR: Final = 2**29  # more than any distance; the sum of three fits into int32
_CELLS: Final = 2**23  # of a table that is kept


class EditDistance(ConstantBuffers):
    """Edit distances of designs from a reference.

    Args:
        reference: int64 (n,), the letters of template and flank.
        length: of the designs, at most n.
        shift: the most places by which insertions and deletions may shift a letter, >= 0.
        editable: bool (n,), the letters of the reference that may be changed or deleted; an insertion is allowed beside each
            of them. None: all. A design that needs other edits has the number of its edits, with as few others as possible.

    Example:
        >>> from discrete_lightning.design.alphabet import DNA
        >>> distance = EditDistance(DNA.encode("ACGTACGTGG"), 8, shift=2)
        >>> distance(DNA.encode_all(["ACGTACGT", "AGTACGTG", "ATCGTACG", "TTTTACGT"]))
        tensor([0, 1, 1, 3])
    """

    reference: Tensor
    exists: Tensor  # in row y + 1, for the places y - shift ... y + shift of the reference, (length + 3, width)
    letter: Tensor
    cost: Tensor
    gap: Tensor
    before: Tensor

    def __init__(self, reference: Tensor, length: int, shift: int, editable: Tensor | None = None) -> None:
        super().__init__()
        self.length, self.size, self.shift = length, len(reference), shift
        most = self.size + length  # edits
        self.other = max(2, min(most + 1, _FAR // 2 // most))  # what an edit costs where none is allowed
        with real_device():
            free = torch.ones(self.size, dtype=torch.bool) if editable is None else editable
            beside = torch.nn.functional.pad(free, (1, 1)).unfold(0, 2, 1).any(-1)
            cost = torch.where(free, 1, self.other).to(torch.int32)
            gap = torch.where(beside, 1, self.other).to(torch.int32)
            gap[-1] = 0  # after the end of the reference
            before = torch.nn.functional.pad(cost.cumsum(0), (1, 0)).to(torch.int32)
            place = torch.arange(-1, length + 2).unsqueeze(1) + torch.arange(-shift, shift + 1)
            letters, ends = place.clamp(0, self.size - 1), place.clamp(0, self.size)
            self.register_constant("reference", reference.clone())
            self.register_constant("exists", (place >= 0) & (place <= self.size))
            missing = (place < 0) | (place >= self.size)
            self.register_constant("letter", torch.where(missing, -1, reference[letters]))
            self.register_constant("cost", cost[letters].masked_fill(missing, _FAR))
            self.register_constant("gap", gap[ends])
            self.register_constant("before", before[ends])

    def forward(self, tokens: Tensor) -> Tensor:
        """The number of edits, int64 (...), of designs (..., length)."""
        parts = self._parts(tokens.flatten(0, -2) if tokens.ndim > 1 else tokens.unsqueeze(0))
        found = torch.cat([self._ends(rows, keep=False)[:, 0, self.shift] for rows in parts])
        return self._count(found).view(tokens.shape[:-1])

    def substitutions(self, tokens: Tensor, letters: int) -> Tensor:
        """The edits after each single substitution, int64 (N, length, letters), of designs (N, length)."""
        return torch.cat([self._with_letter(rows, self._ends(rows)[:, 1:], letters) for rows in self._parts(tokens)])

    def insertions(self, tokens: Tensor, letters: int) -> Tensor:
        """The edits after each insertion of a letter before a position, int64 (N, length, letters); the last letter leaves."""
        parts = self._parts(tokens)
        return torch.cat([self._with_letter(rows, self._ends(rows[:, :-1], first=1), letters) for rows in parts])

    def deletions(self, tokens: Tensor, entering: Tensor) -> Tensor:
        """The edits after the deletion of each letter, int64 (N, length), if the letters `entering` (N,) are appended."""
        found = []
        for rows in self._parts(torch.cat([tokens, entering.unsqueeze(1)], 1)):
            starts, ends = self._starts(rows[:, :-1])[:, :-1], self._ends(rows, first=-1)[:, 1:-1]
            found.append(self._count((starts + ends).amin(-1)))
        return torch.cat(found)

    def entering(self, tokens: Tensor) -> Tensor:
        """The reference's letter after the part that is in the window, int64 (N,); -1 after its end."""
        place = self.length + torch.arange(-self.shift, self.shift + 1, device=tokens.device)
        chosen = []
        for rows in self._parts(tokens):
            last = self._starts(rows)[:, -1].long()
            # of several ends that cost the same, the one with the least shift
            chosen.append(place[(last * (2 * self.shift + 2) + (place - self.length).abs()).argmin(-1)])
        found = torch.cat(chosen)
        return torch.where(found < self.size, self.reference[found.clamp(0, self.size - 1)], -1)

    def aligned(self, tokens: Tensor) -> list[int]:
        """The place in the reference of each letter of one design (length,): -1 if it is inserted, -2 after the end.

        Of alignments with the same number of edits, the one whose insertions and deletions lie as far to the left as possible.
        """
        starts, letters = self._starts(tokens.unsqueeze(0))[0].tolist(), tokens.tolist()
        letter, cost, gap = self.letter.tolist(), self.cost.tolist(), self.gap.tolist()
        i = self.length
        o = min(range(2 * self.shift + 1), key=lambda each: (starts[i][each], abs(each - self.shift)))
        places = [-2] * self.length
        while i:
            now, j = starts[i][o], i + o - self.shift
            if now == starts[i - 1][o] + (letters[i - 1] != letter[i][o]) * cost[i][o]:
                i -= 1
                places[i] = j - 1
            elif o < 2 * self.shift and now == starts[i - 1][o + 1] + gap[i + 1][o]:
                i, o = i - 1, o + 1
                places[i] = -2 if j == self.size else -1
            else:
                o -= 1
        return places

    def _count(self, distances: Tensor) -> Tensor:
        values = distances.long()
        return values // self.other + values % self.other

    def _parts(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Some rows at a time, so that the tables fit into memory."""
        return tokens.split(max(1, _CELLS // ((self.length + 1) * (2 * self.shift + 1))))

    def _with_letter(self, rows: Tensor, ends: Tensor, letters: int) -> Tensor:
        """The edits with a letter at i, the beginning of `rows` before it and `ends` (N, length, width) after it."""
        starts, at = self._starts(rows)[:, :-1], slice(1, self.length + 1)
        through = starts + ends  # the letter is at place j, and what follows it from j + 1 on
        inserted = starts + torch.nn.functional.pad(ends[..., :-1], (1, 0), value=_FAR) + self.gap[at]
        general = torch.minimum(through + self.cost[at], inserted).amin(-1)
        same = [through.masked_fill(self.letter[at] != letter, _FAR).amin(-1) for letter in range(letters)]
        return self._count(torch.minimum(torch.stack(same, -1), general.unsqueeze(-1)))

    def _ends(self, rows: Tensor, first: int = 0, keep: bool = True) -> Tensor:
        """B at [:, i, o], int32 (N, M + 1, width), of `rows` (N, M) from i on, and the reference from i + first + o - shift on.

        Args:
            rows: what stands from position `first` of a design to its end.
            first: -1, 0 or 1.
            keep: whether all rows of the table are returned, or the first alone.
        """
        # The table holds B[i, j] + the cost of deleting all before j, so that deletions within a row are a cumulative minimum.
        # Its columns run from the last place to the first, since B follows from what lies behind; a further one is far.
        count = rows.shape[1]
        at = slice(first + 1, first + 1 + count)
        saved = torch.where(self.letter[at] == rows.unsqueeze(-1), -self.cost[at], 0).flip(-1)
        gap = self.gap[at].flip(-1)
        table = torch.full((len(rows), count + 1, 2 * self.shift + 2), _FAR, dtype=torch.int32, device=rows.device)
        end = count + first + 1
        table[:, count, :-1] = self.before[end].masked_fill(~self.exists[end], _FAR).flip(-1)
        for i in reversed(range(count)):
            behind = table[:, i + 1]
            table[:, i, :-1] = torch.minimum(behind[:, :-1] + saved[:, i], behind[:, 1:] + gap[i]).cummin(-1).values
        found = table[:, : count + 1 if keep else 1, :-1].flip(-1)
        rows_of = slice(first + 1, first + 1 + found.shape[1])
        return (found - self.before[rows_of]).masked_fill(~self.exists[rows_of], _FAR)

    def _starts(self, rows: Tensor) -> Tensor:
        """D at [:, i, o], int32 (N, length + 1, width), of the design before i and the reference before j = i + o - shift."""
        # as in _ends, with D[i, j] - the cost of deleting all before j
        count = rows.shape[1]
        saved = torch.where(self.letter[1 : count + 1] == rows.unsqueeze(-1), -self.cost[1 : count + 1], 0)
        table = torch.full((len(rows), count + 1, 2 * self.shift + 2), _FAR, dtype=torch.int32, device=rows.device)
        table[:, 0, :-1] = torch.where(self.exists[1], 0, _FAR)
        for i in range(1, count + 1):
            before = table[:, i - 1]
            ways = torch.minimum(before[:, :-1] + saved[:, i - 1], before[:, 1:] + self.gap[i + 1])
            table[:, i, :-1] = ways.cummin(-1).values
        rows_of = slice(1, count + 2)
        return (table[..., :-1] + self.before[rows_of]).masked_fill(~self.exists[rows_of], _FAR)
