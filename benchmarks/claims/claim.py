"""A claim: what a page says, the command that measures it, a smaller version of it, and what must be true of its output."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

NUMBER = r"([-+]?(?:\d[\d,]*)?\.?\d+(?:e[-+]?\d+)?)"


@dataclass(frozen=True)
class Claim:
    """One figure of README or of a recipe's page, and how to look at it again.

    `stands` maps a page to the words that stand there, literally: a page that changes without its claim fails a test. It
    is empty where a benchmark waits for its page.
    `command` measures the figure, in minutes or hours, and `results` is the file in benchmarks/ with what it printed, from
    which the page was written (the patterns fit it, and the claim holds there); `quick` is the same program on fewer
    steps, seeds or sizes.
    Commands start with `python` or `discrete-lightning`, and may be joined by ` && `. `reads` are patterns; their groups
    are numbers, looked for in the output in this order, and `{NUMBER}` in them stands for one. `holds` gets all numbers
    and says whether the claim stands: the direction and the rough size, as far as the quick version can show it. `now`
    is a format of the same numbers. `needs` are `NAME==VERSION` of other packages and `data/NAME` of data sets; where
    one is missing the claim is not checked. `limit` is in seconds, of the quick version. `codes` are the exit codes of
    a good run: a program whose own bar is above the claim may end with 1.
    """

    name: str
    stands: Mapping[str, str]
    command: str
    quick: str
    reads: tuple[str, ...]
    holds: Callable[..., bool]
    now: str
    needs: tuple[str, ...] = ()
    limit: int = 90
    codes: tuple[int, ...] = (0,)
    results: str = ""

    def numbers(self, output: str) -> list[float]:
        """The numbers in what the program printed.

        Raises:
            ValueError: where a pattern is not found: the program prints something else than it did.
        """
        found: list[float] = []
        for pattern in self.reads:
            match = re.search(pattern.replace("{NUMBER}", NUMBER), output, re.MULTILINE)
            if match is None:
                raise ValueError(f"the output has no {pattern!r}")
            found += [float(group.replace(",", "")) for group in match.groups()]
        return found
