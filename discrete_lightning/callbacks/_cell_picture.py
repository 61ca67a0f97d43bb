"""A cell as a graph: graphviz source, and a picture drawn by matplotlib (graphviz itself is not needed)."""

import math
from collections.abc import Sequence
from pathlib import Path

from discrete_lightning.nn import Edge


def graphviz(edges: Sequence[Edge]) -> str:
    """The source of a graph with a cluster for each cell: `dot -Tpdf architecture.dot`."""
    lines = ["digraph architecture {", "  rankdir=LR; node [shape=box, style=rounded];"]
    for number, cell in enumerate(dict.fromkeys(edge.cell for edge in edges)):
        lines += [f"  subgraph cluster_{number} {{", f'    label="{cell}";']
        own = [edge for edge in edges if edge.cell == cell]
        names = {name: f"c{number}_{i}" for i, name in enumerate(_nodes(own))}
        lines += [f'    {key} [label="{name}"];' for name, key in names.items()]
        lines += [f'    {names[e.source]} -> {names[e.target]} [label="{e.operation}"];' for e in own]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def draw(edges: Sequence[Edge], path: Path) -> None:
    """A PNG: one panel a cell, nodes from left to right, edges as arcs with their operations."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cells = list(dict.fromkeys(edge.cell for edge in edges)) or ["no connection"]
    figure = Figure(figsize=(9, 3.6 * len(cells)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, cell in zip(figure.subplots(len(cells), squeeze=False)[:, 0], cells, strict=True):
        own = [edge for edge in edges if edge.cell == cell]
        nodes = _nodes(own)
        place = {name: float(i) for i, name in enumerate(nodes)}
        axes.set_title(cell, loc="left")
        axes.axis("off")
        for name, x in place.items():
            box = {"boxstyle": "round", "facecolor": "#e8eef7", "edgecolor": "#44546a"}
            axes.text(x, 0, name, ha="center", va="center", bbox=box, zorder=3)
        colors = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(edge.operation for edge in own))}
        reach = 0.5
        for number, edge in enumerate(own):
            start, end = place[edge.source], place[edge.target]
            # longer edges above, alternating sides, so that no two labels meet
            side = 1 if number % 2 else -1
            height = side * (0.28 * (end - start) if end - start > 1 or _crowded(own, edge) else 0.0)
            reach = max(reach, abs(height) + 0.25)
            bend = -4 / 3 * height / max(end - start, 1e-9)
            arrow = {"arrowstyle": "-|>", "color": colors[edge.operation], "shrinkA": 22, "shrinkB": 24}
            axes.annotate(
                "", (end, 0), (start, 0), arrowprops={**arrow, "connectionstyle": f"arc3,rad={bend:.3f}", "lw": 1.6}
            )
            label = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            middle = (start + end) / 2
            axes.text(
                middle, height * 2 / 3, edge.operation, ha="center", va="center", fontsize=8, bbox=label, zorder=4
            )
        axes.set_xlim(-0.4, max(len(nodes) - 1, 1) + 0.4)
        axes.set_ylim(-reach, reach)
    figure.savefig(path, dpi=120)


def _crowded(edges: Sequence[Edge], edge: Edge) -> bool:
    return sum(other[:2] == edge[:2] for other in edges) > 1


def _nodes(edges: Sequence[Edge]) -> list[str]:
    """Names of nodes so that every edge goes from left to right."""
    waiting = list(dict.fromkeys(name for edge in edges for name in (edge.source, edge.target)))
    waiting.sort(key=lambda name: _order(name))
    ordered: list[str] = []
    while waiting:
        free = [n for n in waiting if not any(e.target == n and e.source in waiting for e in edges)]
        ordered.append((free or waiting)[0])
        waiting.remove(ordered[-1])
    return ordered


def _order(name: str) -> float:
    if name.startswith("input"):
        return -1.0
    digits = "".join(character for character in name if character.isdigit())
    return float(digits) if digits else math.inf
