"""Which experts the tokens of a text were sent to, and where these tokens stand."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.training.watched import first_expert

SHOWN = {"\n": "↵", " ": "␣", "\t": "⇥"}


def shown(piece: str) -> str:
    """A token in print: blanks become signs."""
    return "".join(SHOWN.get(each, each) for each in piece)


@dataclass
class RoutedText:
    """What one router chose for a text.

    Args:
        pieces: the text of each token, in rows.
        chosen: bool (T, N), the experts of each token; T is the number of all pieces.
        first: int64 (T,), the one with the largest gate.
    """

    pieces: Sequence[Sequence[str]]
    chosen: Tensor
    first: Tensor

    @property
    def count(self) -> int:
        """N."""
        return self.chosen.shape[1]

    def share(self) -> Tensor:
        """Share of each expert among all choices, float32 (N,)."""
        return self.chosen.float().sum(0) / self.chosen.sum().clamp_min(1)

    def tokens_of(self, expert: int, most: int = 5) -> list[tuple[str, float]]:
        """The tokens that an expert takes more often than the others do, each with its share of what the expert takes.

        Example:
            >>> text = RoutedText([["t", "o", " "]], torch.eye(3, dtype=torch.bool)[[0, 0, 1]], torch.tensor([0, 0, 1]))
            >>> text.tokens_of(0), text.tokens_of(1)
            ([('t', 0.5), ('o', 0.5)], [('␣', 1.0)])
        """
        return self._most([shown(piece) for row in self.pieces for piece in row], expert, most)

    def words_of(self, expert: int, most: int = 5) -> list[tuple[str, float]]:
        """Where they stand: the word around each token, the token in brackets.

        Example:
            >>> text = RoutedText([["t", "o", " "]], torch.eye(3, dtype=torch.bool)[[0, 0, 1]], torch.tensor([0, 0, 1]))
            >>> text.words_of(0), text.words_of(1)
            ([('[t]o', 0.5), ('t[o]', 0.5)], [('o[␣]', 1.0)])
        """
        return self._most([_around(row, i) for row in self.pieces for i in range(len(row))], expert, most)

    def _most(self, names: Sequence[str], expert: int, most: int) -> list[tuple[str, float]]:
        counts = Counter(names[i] for i in self.chosen[:, expert].nonzero()[:, 0].tolist())
        total, everywhere = max(1, sum(counts.values())), Counter(names)
        shares = {name: count / total for name, count in counts.items()}
        surplus = {name: share - everywhere[name] / len(names) for name, share in shares.items()}
        best = sorted((name for name in surplus if surplus[name] >= 0), key=lambda name: -surplus[name])
        return [(name, shares[name]) for name in best[:most]]


def routed_text(pieces: Sequence[Sequence[str]], routed: Routed) -> RoutedText:
    """The choices of a router for tokens, whose leading dimensions are those of `pieces`, flat.

    Raises:
        ValueError: if the router saw another number of tokens.
    """
    count = routed.logits.shape[-1]
    indices, first = routed.indices.reshape(-1, routed.indices.shape[-1]).cpu(), first_expert(routed).reshape(-1).cpu()
    total = sum(map(len, pieces))
    if len(indices) != total:
        raise ValueError(f"a router saw {len(indices)} tokens, and the text has {total}")
    taken = torch.ones_like(indices, dtype=torch.bool)
    if routed.taken is not None:
        taken = routed.taken.reshape(indices.shape).cpu()
    chosen = torch.zeros(total, count, dtype=torch.bool).scatter(1, indices, taken)
    return RoutedText(pieces, chosen, first)


def _is_word(piece: str) -> bool:
    return all(each.isalnum() or each == "'" for each in piece)


def _around(row: Sequence[str], i: int) -> str:
    """The word that token i of a row is a part of, the token in brackets; of other tokens their neighbours."""
    start, end = i, i + 1
    if not _is_word(row[i].strip()) or not row[i].strip():
        start, end = max(0, i - 1), min(len(row), i + 2)
    else:
        while (
            start > 0 and not row[start][0].isspace() and _is_word(row[start - 1].lstrip()) and row[start - 1].strip()
        ):
            start -= 1
        while end < len(row) and _is_word(row[end]):
            end += 1
    before, after = "".join(row[start:i]), "".join(row[i + 1 : end])
    return f"{shown(before.lstrip())}[{shown(row[i])}]{shown(after.rstrip())}"
