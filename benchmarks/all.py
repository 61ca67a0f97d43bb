"""Every claim of README and of the recipes' pages, measured again; a claim that no longer holds is marked.

python -m benchmarks.all --quick                  # small versions of all, less than 15 minutes on 2 cores
python -m benchmarks.all --quick --only vq        # those whose name has "vq" in it
python -m benchmarks.all --list                   # the claims: where they stand, the command that measures each
python -m benchmarks.all                          # the full commands, one after the other: many hours

Prints a row a claim: the figure as the page has it, the figure now, whether the claim holds, and the seconds. A claim
whose peer or data is not installed, or that is not over in its time, is not checked, which is said with the reason and
never counts as held. The exit code is 1 if a claim no longer holds. Nothing is written but the table, to `--out FILE`.
Claims are in benchmarks/claims, a file a family. What a quick version shows is the direction and the rough size of an
effect; figures are those of the full command.
"""

import argparse
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.claims import CLAIMS
from benchmarks.claims.claim import Claim
from benchmarks.claims.judging import FAILS, HOLDS, UNCHECKED, Judge, Verdict

WIDTHS = (30, 46, 46, 15, 7)
HEAD = ("claim", "the page says", "now", "", "seconds")


def chosen(claims: Sequence[Claim], only: str) -> list[Claim]:
    """Claims whose name has `only` in it.

    Raises:
        SystemExit: if there is none.
    """
    found = [claim for claim in claims if only in claim.name]
    if not found:
        raise SystemExit(f"no claim has {only!r} in its name; --list prints them")
    return found


def index(claims: Iterable[Claim]) -> Iterator[str]:
    """The claims in words."""
    for claim in claims:
        yield claim.name
        for page, words in claim.stands.items():
            yield f"    {page}: {words}"
        yield f"    full:  {claim.command}"
        yield f"    quick: {claim.quick}"
        if claim.results:
            yield f"    printed: benchmarks/{claim.results}"
        if claim.needs:
            yield f"    needs: {', '.join(claim.needs)}"


def row(cells: Sequence[str]) -> str:
    """Cells side by side, each wrapped to its width."""
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, WIDTHS, strict=True)]
    height = max(map(len, wrapped))
    lines = [[column[k] if k < len(column) else "" for column in wrapped] for k in range(height)]
    return "\n".join(
        " | ".join(f"{cell:<{width}}" for cell, width in zip(line, WIDTHS, strict=True)).rstrip() for line in lines
    )


def cells(verdict: Verdict) -> tuple[str, str, str, str, str]:
    words = next(iter(verdict.claim.stands.values()), "(on no page yet)")
    return verdict.claim.name, words, verdict.now, verdict.status, f"{verdict.seconds:.0f}"


def report(claims: Sequence[Claim], judge: Callable[[Claim], Verdict], write: Callable[[str], None]) -> int:
    """Judges the claims one after the other and writes a row for each, then the counts; the exit code."""
    start, counts = time.perf_counter(), {HOLDS: 0, FAILS: 0, UNCHECKED: 0}
    write(row(HEAD))
    for claim in claims:
        verdict = judge(claim)
        counts[verdict.status] += 1
        write("-" * (sum(WIDTHS) + 3 * (len(WIDTHS) - 1)) + "\n" + row(cells(verdict)))
    total = ", ".join(f"{count} {status}" for status, count in counts.items())
    spent = os.times()
    write(
        f"\n{len(claims)} claims: {total}; {(time.perf_counter() - start) / 60:.1f} minutes, "
        f"{(spent.children_user + spent.children_system) / 60:.1f} of the processor"
    )
    return 1 if counts[FAILS] else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small version of each")
    parser.add_argument("--only", default="", metavar="PATTERN", help="claims with this in their name")
    parser.add_argument("--list", action="store_true", help="print the claims and run nothing")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="multiplies the time limits, for a slow or busy machine"
    )
    parser.add_argument(
        "--minutes", type=float, default=15.0, help="of --quick in all; what is left then is not checked"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table here, too")
    arguments = parser.parse_args()
    claims = chosen(CLAIMS, arguments.only)
    if arguments.list:
        print("\n".join(index(claims)))
        return
    if not arguments.quick:
        print(
            f"the full commands of {len(claims)} claims run now, which takes hours; --quick is their small versions\n"
        )
    lines: list[str] = []

    def write(text: str) -> None:
        print(text, flush=True)
        lines.append(text)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the program that runs, too
    seconds = 60 * arguments.minutes * arguments.patience if arguments.quick else float("inf")
    judge = Judge(arguments.quick, arguments.patience, seconds)
    code = report(claims, judge, write)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
