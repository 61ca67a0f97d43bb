"""What each expert takes, for a person to read: a table in text, and a page of text in colours."""

import html
from collections.abc import Mapping, Sequence

from discrete_lightning.routing.training.routed_text import RoutedText


def table(texts: Mapping[str, RoutedText]) -> str:
    """The table as text with columns of one width.

    Args:
        texts: by the name of the router.
    """
    lines: list[str] = []
    for name, text in texts.items():
        rows = [("expert", "share", "tokens", "where they stand")]
        for expert, share in enumerate(text.share().tolist()):
            takes = text.tokens_of(expert), text.words_of(expert)
            rows.append((str(expert), f"{share:.1%}", _listed(takes[0]), _listed(takes[1])))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += [f"{name}: {len(text.first):,} tokens", ""]
        for row in rows:
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        lines.append("")
    return "\n".join(lines)


def _listed(most: list[tuple[str, float]]) -> str:
    return "   ".join(f"{each} {share:.0%}" for each, share in most)


def page(texts: Mapping[str, RoutedText], most: int) -> str:
    """The page: for each router its first tokens, coloured, and what each expert takes.

    Args:
        texts: by the name of the router.
        most: tokens that are shown.
    """
    parts = [_HEAD]
    for name, text in texts.items():
        colours = [f"hsl({round(360 * i / text.count)}, 75%, {80 if i % 2 else 88}%)" for i in range(text.count)]
        legend = " ".join(
            f'<span style="background:{colour}">{i}: {html.escape(_names(text, i))}</span>'
            for i, colour in enumerate(colours)
        )
        parts.append(f"<h2>{html.escape(name)}</h2><p>{legend}</p><pre>{_coloured(text, colours, most)}</pre>")
    return "\n".join([*parts, "</body></html>\n"])


def _names(text: RoutedText, expert: int) -> str:
    return " ".join(each for each, _ in text.tokens_of(expert)) or "nothing"


def _coloured(text: RoutedText, colours: list[str], most: int) -> str:
    flat = [(piece, is_last) for row in text.pieces for piece, is_last in _with_last(row)][:most]
    spans: list[str] = []
    for (piece, is_last), expert in zip(flat, text.first.tolist(), strict=False):
        letters = html.escape(piece.replace("\n", "↵\n"))
        spans.append(f'<span style="background:{colours[expert]}" title="{expert}">{letters}</span>')
        if is_last:
            spans.append("\n<hr>")  # the next window is another place of the text
    return "".join(spans)


def _with_last(row: Sequence[str]) -> list[tuple[str, bool]]:
    return [(piece, i == len(row) - 1) for i, piece in enumerate(row)]


_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Which expert takes which token</title>
<style>body {font-family: sans-serif; max-width: 60em; margin: 2em auto} pre {line-height: 1.5; white-space: pre-wrap}</style>
</head><body><p>Each token has the colour of its expert with the largest gate. Above each text: the tokens that each expert
takes more often than the others do.</p>"""
