"""What counting alone predicts: a character n-gram with Witten-Bell smoothing."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from discrete_lightning.functional._arguments import check_at_least

_TABLE = 2**25  # values of n-grams that are counted in a table of all of them, 256 MiB


class NGram:
    r"""Character n-grams of one text, interpolated over all lengths as Witten and Bell do.

    With N(h) the times a context h is followed by a character in the text, T(h) the number of distinct characters that
    follow it, c(h, x) the times that x does, and h' the context h without its first character,

    $$p(x \mid h) = \lambda_h \frac{c(h, x)}{N(h)} + (1 - \lambda_h)\, p(x \mid h'), \qquad
      \lambda_h = \frac{N(h)}{N(h) + T(h)},$$

    down to the empty context, behind which stands the uniform 1 / (A + 1) over the A characters of the text and one more
    symbol, "a character that the text lacks". All characters that it lacks are that one symbol, so the probabilities of
    A + 1 outcomes sum to 1 after every context. A context that the text lacks leaves the matter to h'; so do the first
    characters of a text, which have fewer than `order` - 1 before them.

    Chen and Goodman, "An empirical study of smoothing techniques for language modeling", 1999, equations 15 and 16;
    Witten and Bell, "The zero-frequency problem", 1991, method C.

    Args:
        order: n, the length of the longest context and the character after it, 1 or more.

    Raises:
        ValueError: if `order` is less than 1; if a text is empty.
        RuntimeError: if probabilities are asked for before `fit`.

    Example:
        >>> model = NGram(1).fit("aab")
        >>> [round(float(p), 4) for p in model.probabilities("ab?")]  # (2 + 2/3) / 5, (1 + 2/3) / 5, (0 + 2/3) / 5
        [0.5333, 0.3333, 0.1333]
        >>> round(NGram(3).fit("to be or not to be. " * 50).nats_per_character("not to be"), 2)
        0.34
    """

    def __init__(self, order: int) -> None:
        check_at_least(1, order=order)
        self.order = order
        self._alphabet: NDArray[np.int64] | None = None
        # For each length k = 1 ... order: the sorted keys of its n-grams and their counts, and N(h) and T(h) of the
        # contexts of length k - 1. An n-gram's number is its place among the keys of its length; its key is
        # (number of its first k - 1 characters) * (A + 1) + (its last character), below len(text) * (A + 1).
        self._keys: list[NDArray[np.int64]] = []
        self._counts: list[NDArray[np.int64]] = []
        self._followed: list[NDArray[np.int64]] = []
        self._kinds: list[NDArray[np.int64]] = []

    def fit(self, text: str) -> Self:
        """Counts the n-grams of `text`, forgetting any other; returns the model itself.

        Raises:
            ValueError: if `text` is empty.
        """
        points = _code_points(text, "fit")
        self._alphabet = np.unique(points)
        self._keys, self._counts, self._followed, self._kinds = [], [], [], []
        characters = np.searchsorted(self._alphabet, points)
        base = len(self._alphabet) + 1
        contexts, size = np.zeros(len(characters), dtype=np.int64), 1  # the empty context, before every character
        for length in range(1, self.order + 1):
            if length > len(characters):
                break
            grams = contexts * base + characters[length - 1 :]
            keys, counts, contexts = _numbered(grams, size * base, last=length == self.order)
            before = keys // base
            kinds = np.bincount(before, minlength=size)
            followed = np.bincount(before, counts, minlength=size).astype(np.int64)  # exact: below 2^53
            self._keys.append(keys)
            self._counts.append(counts)
            self._followed.append(followed)
            self._kinds.append(kinds)
            contexts, size = contexts[:-1], len(keys)
        return self

    def probabilities(self, text: str) -> NDArray[np.float64]:
        """P of each character of `text` given those before it in `text`: (len(text),) in (0, 1).

        A character that the text of `fit` lacks has the probability of the one symbol for all such.

        Raises:
            ValueError: if `text` is empty.
            RuntimeError: if `fit` has not been called.
        """
        if self._alphabet is None:
            raise RuntimeError("NGram has counted no text yet: call fit(text) first")
        points = _code_points(text, "probabilities")
        base = len(self._alphabet) + 1
        characters = np.searchsorted(self._alphabet, points)
        known = self._alphabet[np.minimum(characters, base - 2)] == points
        characters = np.where(known, characters, base - 1)
        p = np.full(len(characters), 1.0 / base)
        contexts = np.zeros(len(characters), dtype=np.int64)  # -1: a context that the counted text lacks
        for i, (keys, counts) in enumerate(zip(self._keys, self._counts, strict=True)):
            if i >= len(characters):
                break
            grams = contexts * base + characters[i:]
            places = np.minimum(np.searchsorted(keys, grams), len(keys) - 1)
            found = (contexts >= 0) & (keys[places] == grams)
            seen = np.where(found, counts[places], 0)
            at = np.maximum(contexts, 0)
            followed = np.where(contexts >= 0, self._followed[i][at], 0)
            kinds = np.where(contexts >= 0, self._kinds[i][at], 0)
            total = followed + kinds
            p[i:] = np.where(total > 0, (seen + kinds * p[i:]) / np.maximum(total, 1), p[i:])
            contexts = np.where(found, places, -1)[:-1]
        return p

    def nats_per_character(self, text: str) -> float:
        """The mean of -log p over the characters of `text`, in nats: 0 or more.

        Raises:
            ValueError: if `text` is empty.
            RuntimeError: if `fit` has not been called.
        """
        return float(-np.log(self.probabilities(text)).mean())


def _numbered(
    grams: NDArray[np.int64], limit: int, last: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The different values of `grams`, sorted; how often each occurs; and the place of each of `grams` among them.

    All are below `limit`; the places are empty where this is the last call.
    """
    if last:
        return *np.unique(grams, return_counts=True), grams[:0]
    if limit > _TABLE:
        keys, places, counts = np.unique(grams, return_inverse=True, return_counts=True)
        return keys, counts, places
    table = np.bincount(grams, minlength=limit)  # a table of all values is several times as fast as a sort
    keys = np.flatnonzero(table)
    counts = table[keys]
    table[keys] = np.arange(len(keys))
    return keys, counts, table[grams]


def _code_points(text: str, asked: str) -> NDArray[np.int64]:
    """The code points of `text`, a lone surrogate as its own."""
    if not text:
        raise ValueError(f"NGram.{asked} was given an empty text, and needs one character or more")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
