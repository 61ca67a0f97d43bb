"""A cell as a graph: graphviz source, and a picture drawn by matplotlib (graphviz itself is not needed)."""

import math
from collections.abc import Sequence
from pathlib import Path

from discrete_lightning.nas.spaces.space import Edge
from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.pictures import add_caption


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


def draw(edges: Sequence[Edge], path: Path, caption: str = "") -> None:
    """A PNG: one panel a cell, nodes from left to right, edges as arcs with their operations, a caption below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cells = list(dict.fromkeys(edge.cell for edge in edges)) or ["no connection"]
    longest = max((len(_nodes([e for e in edges if e.cell == cell])) for cell in cells), default=2)
    figure = Figure(figsize=(9, 9 * 0.5 * len(cells)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, cell in zip(figure.subplots(len(cells), squeeze=False)[:, 0], cells, strict=True):
        own = [edge for edge in edges if edge.cell == cell]
        place = {name: float(i) for i, name in enumerate(_nodes(own))}
        axes.set_title(cell, loc="left")
        axes.axis("off")
        axes.set_aspect("equal")  # arcs bend in the picture's units: so labels meet them
        for name, x in place.items():
            box = {"boxstyle": "round", "facecolor": "#e8eef7", "edgecolor": "#44546a"}
            axes.text(x, 0, name, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
        colors = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(edge.operation for edge in own))}
        reach = 0.3
        for number, edge in enumerate(own):
            start, end = place[edge.source], place[edge.target]
            straight = end - start == 1 and sum(other[:2] == edge[:2] for other in own) == 1
            bend = 0.0 if straight else (-0.45 if number % 2 else 0.45)  # alternating sides, so that few labels meet
            apex = -0.5 * bend * (end - start)
            reach = max(reach, abs(apex) + 0.2)
            arrow = {"arrowstyle": "-|>", "color": colors[edge.operation], "shrinkA": 18, "shrinkB": 20, "lw": 1.6}
            axes.annotate(
                "", (end, 0), (start, 0), arrowprops={**arrow, "connectionstyle": f"arc3,rad={bend:.3f}"}, zorder=1
            )
            label = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            middle = (start + end) / 2
            axes.text(middle, apex, edge.operation, ha="center", va="center", fontsize=8, bbox=label, zorder=4)
        axes.set_xlim(-0.4, max(longest - 1, 1) + 0.4)
        axes.set_ylim(-reach, reach)
    add_caption(figure, caption)
    with atomic_write(path) as file:
        figure.savefig(file, dpi=120, bbox_inches="tight")


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
