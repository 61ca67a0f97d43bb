"""Poems for a person to read, as a page and as plain text: stress marks over the words, letters for rhymes.

The marks are those of the handbooks of metre: "x" is a syllable without stress, "/" one with. A line that is in no metre known
to the scan stands without marks and is pointed out. Lines that rhyme have one letter, as in "a a b b".
"""

import html
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

_EDGES = re.compile(r"^[^\w'’]+|[^\w'’]+$")


class Word(NamedTuple):
    """A word as it is written, and the marks over it ("" where there are none)."""

    text: str
    marks: str


class ScannedLine(NamedTuple):
    """A line of a poem.

    Attributes:
        words: in order, each with its marks.
        marks: of the whole line, one a syllable; None: not in metre.
        over_words: whether the words have the marks; if not, they stand at the line's end.
        rhyme: a letter, or two, that the lines of one rhyme share; "" for a line that rhymes with no other.
    """

    words: tuple[Word, ...]
    marks: str | None
    over_words: bool
    rhyme: str


def scanned(
    poem: Sequence[str],
    scan: Callable[[str], str | None],
    rhymes: Callable[[str, str], bool],
    syllables: Callable[[str], int | None] | None = None,
) -> list[ScannedLine]:
    """The lines of a poem with their marks and rhymes. Blanks between words become one; nothing else is left out.

    Args:
        poem: its lines.
        scan: a line to one mark a syllable; None: not in metre.
        rhymes: whether two lines rhyme. A line has the letter of the first line above that it rhymes with.
        syllables: of a word, without the marks of punctuation around it; None: unknown. Where they do not add up to the number
            of marks, the marks stand at the line's end.

    Example:
        >>> (line,) = scanned(["The cat!"], scan=lambda line: "x/", rhymes=lambda a, b: False, syllables=lambda word: 1)
        >>> line.words, line.rhyme
        ((Word(text='The', marks='x'), Word(text='cat!', marks='/')), '')
    """
    lines = [_clean(line) for line in poem]
    letters = _letters(lines, rhymes)
    found: list[ScannedLine] = []
    for line, letter in zip(lines, letters, strict=True):
        marks, words = scan(line), line.split(" ") if line else []
        counts = None if marks is None or syllables is None else [_count(word, syllables) for word in words]
        if marks is None or counts is None or None in counts or sum(filter(None, counts)) != len(marks):
            found.append(ScannedLine(tuple(Word(word, "") for word in words), marks, False, letter))
            continue
        placed: list[Word] = []
        start = 0
        for word, count in zip(words, counts, strict=True):
            end = start + (count or 0)
            placed.append(Word(word, marks[start:end]))
            start = end
        found.append(ScannedLine(tuple(placed), marks, True, letter))
    return found


def verse_page(
    poems: Sequence[Sequence[str]],
    scan: Callable[[str], str | None],
    rhymes: Callable[[str, str], bool],
    title: str,
    caption: str = "",
    *,
    syllables: Callable[[str], int | None] | None = None,
) -> str:
    """Poems as a page of HTML that needs no other file, light or dark as the reader's system is.

    Args:
        poems: lines of each; text, not HTML.
        scan: see `scanned`.
        rhymes: see `scanned`.
        title: of the page.
        caption: a line of figures below the title.
        syllables: see `scanned`.

    Example:
        >>> page = verse_page([["A <b> cat", "a hat"]], lambda line: None, lambda a, b: True, "Verses")
        >>> "&lt;b&gt;" in page, page.count('<div class="line free"'), page.count('<span class="rhyme">a</span>')
        (True, 2, 2)
    """
    parts = [
        _HEAD.replace("TITLE", html.escape(title)),
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="caption">{html.escape(_clean(caption))}</p>' if caption else "",
        _LEGEND,
    ]
    for poem in poems:
        lines = "\n".join(_html_line(line) for line in scanned(poem, scan, rhymes, syllables))
        parts.append(f'<div class="poem">\n{lines}\n</div>')
    return "\n".join([*filter(None, parts), "</body></html>\n"])


def verse_text(
    poems: Sequence[Sequence[str]],
    scan: Callable[[str], str | None],
    rhymes: Callable[[str, str], bool],
    title: str,
    caption: str = "",
    *,
    syllables: Callable[[str], int | None] | None = None,
) -> str:
    r"""Poems as plain text, the marks in a line above the words; arguments as in `verse_page`.

    Example:
        >>> poem = ["Rough winds do shake the darling buds of May,", "a cow and one more cow"]
        >>> scan = {poem[0]: "x/x/x/x/x/"}.get
        >>> text = verse_text([poem], scan, lambda a, b: False, "Verses", syllables=lambda word: 1 + (word == "darling"))
        >>> print("\n".join(text.splitlines()[-3:]))
          x     /     x  /     x   /  x    /    x  /
          Rough winds do shake the darling buds of May,
        ? a cow and one more cow
    """
    parts = [_clean(title), _clean(caption), "x: no stress   /: stress   ?: not in metre   a a b b: rhymes"]
    for poem in poems:
        lines = scanned(poem, scan, rhymes, syllables)
        rows = [_text_line(line) for line in lines]
        width = max((len(words) for _, words in rows), default=0)
        block: list[str] = []
        for line, (above, words) in zip(lines, rows, strict=True):
            if above:
                block.append(f"  {above}")
            end = "   ".join(filter(None, [line.rhyme, "" if line.over_words else line.marks or ""]))
            start = "?" if line.marks is None else " "
            block.append(f"{start} {words:{width}}   {end}".rstrip())
        parts.append("\n" + "\n".join(block))
    return "\n".join(filter(None, parts)) + "\n"


def _clean(line: str) -> str:
    """One line, with one blank between words, that can be written in UTF-8."""
    return " ".join(line.split()).encode("utf-8", "replace").decode("utf-8")


def _count(word: str, syllables: Callable[[str], int | None]) -> int | None:
    """The syllables of a word; 0 of a dash or another mark."""
    bare = _EDGES.sub("", word)
    return syllables(bare) if any(letter.isalnum() for letter in bare) else 0


def _letters(lines: Sequence[str], rhymes: Callable[[str, str], bool]) -> list[str]:
    first: list[int] = []  # the first line that each rhymes with, or itself
    for i, line in enumerate(lines):
        first.append(next((first[j] for j in range(i) if rhymes(lines[j], line)), i))
    rhymed = [i for i in range(len(lines)) if first[i] == i and first.count(i) > 1]
    names = {i: _letter(number) for number, i in enumerate(rhymed)}
    return [names.get(each, "") for each in first]


def _letter(number: int) -> str:
    """A to z, then aa, ab, ..."""
    return ("" if number < 26 else _letter(number // 26 - 1)) + "abcdefghijklmnopqrstuvwxyz"[number % 26]


def _html_line(line: ScannedLine) -> str:
    if line.over_words:
        words = " ".join(
            f"<ruby>{html.escape(word.text)}<rt>{html.escape(word.marks)}</rt></ruby>"
            if word.marks
            else html.escape(word.text)
            for word in line.words
        )
    else:
        words = html.escape(" ".join(word.text for word in line.words))
    at_end = "" if line.over_words or not line.marks else f'<span class="marks">{html.escape(line.marks)}</span>'
    rhyme = f'<span class="rhyme">{line.rhyme}</span>' if line.rhyme else ""
    kind = ' free" title="not in metre' if line.marks is None else ""
    return f'<div class="line{kind}"><span>{words}</span>{at_end}{rhyme}</div>'


def _text_line(line: ScannedLine) -> tuple[str, str]:
    """The marks over the words, "" without any, and the words, both padded to fit."""
    if not line.over_words:
        return "", " ".join(word.text for word in line.words)
    above, below = [], []
    for text, marks in line.words:
        width = max(len(text), 2 * len(marks) - 1)
        row = [" "] * width
        for i, mark in enumerate(marks):
            row[i * width // len(marks)] = mark
        above.append("".join(row))
        below.append(text.ljust(width))
    return " ".join(above).rstrip(), " ".join(below).rstrip()


_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<style>
:root {color-scheme: light dark; --ink: #222; --paper: #fffdf8; --mark: #8a5a00; --free: #a33; --faint: #777}
@media (prefers-color-scheme: dark) {:root {--ink: #ddd; --paper: #1b1b1d; --mark: #e0b050; --free: #f08080; --faint: #999}}
body {font-family: Georgia, serif; max-width: 46em; margin: 2em auto; padding: 0 1em; color: var(--ink);
  background: var(--paper)}
h1 {font-size: 1.4em} .caption, .legend {color: var(--faint); font-size: .9em}
.poem {margin: 1.6em 0} .line {display: flex; gap: 1.5em; align-items: baseline; line-height: 2.1}
.line > span:first-child {flex: 1; padding-left: .7em; border-left: 3px solid transparent}
.free > span:first-child {border-left-color: var(--free)}
rt, .marks {color: var(--mark); font-family: monospace; letter-spacing: .2em} rt {font-size: .7em}
.rhyme {color: var(--faint); font-style: italic; min-width: 1.2em}
</style></head><body>"""

_LEGEND = """<p class="legend"><span style="color:var(--mark)">x</span> no stress,
<span style="color:var(--mark)">/</span> stress; a line with a <span style="color:var(--free)">red edge</span> is not in metre;
lines with one letter at the right rhyme.</p>"""
