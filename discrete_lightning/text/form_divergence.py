"""How far a generator had to go for the form it has: a lower bound of its KL, and the share of its KL that the form explains.

    b = sum_o q_o log(q_o / p_o)    KL(pi || ref) >= b    efficiency = b / KL in (0, 1]

p and q are the shares of the outcomes (in metre or not, rhymed or not, ...) under ref and pi. No generator with the shares q
is nearer to ref (data processing inequality; Cover & Thomas 2006, theorem 2.8.1), and ref conditioned on outcomes drawn from q
reaches it: 1 means that nothing but the form has changed.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from math import log


def form_divergence(outcomes: Iterable[Hashable], reference: Iterable[Hashable]) -> float:
    """The bound b in nats, from outcomes of texts of the generator and of the reference.

    An outcome that the reference never showed counts as half a text there, so that the value is finite.

    Args:
        outcomes: one for each text of the generator; tuples of bools, say.
        reference: likewise, of the language model; many, since rare outcomes decide.

    Raises:
        ValueError: if one of them is empty.

    Example:
        >>> round(form_divergence([True] * 9 + [False], [True, False] * 50), 4)  # .9 log(.9 / .5) + .1 log(.1 / .5)
        0.3681
    """
    mine, theirs = Counter(outcomes), Counter(reference)
    m, n = sum(mine.values()), sum(theirs.values())
    if not m or not n:
        raise ValueError(f"form_divergence compares texts of a generator and of a reference, got {m} and {n}")
    return sum(count / m * log(count / m * n / max(theirs[each], 0.5)) for each, count in mine.items())
