"""The page of results: README.md beside this file, with its two pictures, from the rows of results/runs.csv."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.arena.contestants import FIXED
from benchmarks.arena.problem import Plan, Task
from benchmarks.arena.runs import FAILED, Run

PAGE = Path(__file__).parent / "README.md"
PEER = "ReinMax"
HEAD_OF_LIST = (
    "The lowest mean but for ReinMax; in brackets how far it is from ReinMax, at the temperature of the rule and at 1.5, "
    "that of its paper for most VAEs:\n"
)
Scores = Mapping[tuple[str, str], Mapping[int, Run]]  # of (task, estimator), by seed

HEAD = """# The arena: every estimator on every task

```
python -m benchmarks.arena            # the runs that are not in results/runs.csv yet, then this page
python -m benchmarks.arena --page     # this page of the runs that are there
```

All have the same budget: a task is a number of steps of a number of evaluations of the loss (rows of the decoder, looked-up
cells, trees), and an estimator that evaluates it E times an example gets batches that are smaller by E (`problem.py`). The
temperature is chosen by one rule for all: of {plans} (a line, as the budget is spent), the one with the
lowest mean score on two seeds of another problem of the family, in half the steps. It is in brackets where it is not 1. All
else is the default.

Scores are of discrete choices, on data that was not trained on where there is such; lower is better. A cell is the mean over
seeds and, after `±`, the standard deviation; **bold** is the best mean of a column, `-` where an estimator is not defined for
that kind of choice, empty where it was not run.
"""


def _by_seed(rows: Sequence[Run]) -> Scores:
    found: dict[tuple[str, str], dict[int, Run]] = {}
    for row in rows:
        if row.stage == "reported":
            found.setdefault((row.task, row.estimator), {})[row.seed] = row
    return found


def _mean(runs: Mapping[int, Run]) -> float:
    return statistics.fmean(run.score for run in runs.values())


def _cell(runs: Mapping[int, Run], digits: int, best: bool) -> str:
    scores = [run.score for run in runs.values()]
    if max(scores) == FAILED:
        return "not finite"
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    mean = f"{statistics.fmean(scores):.{digits}f}"
    taus = sorted({run.tau for run in runs.values()})
    told = f" [{taus[0]}]" if len(taus) == 1 and taus != ["1"] else ""
    return f"{f'**{mean}**' if best else mean} ± {spread:.{digits}f}{told}"


def table(scores: Scores, tasks: Mapping[str, Task], who: Sequence[str], undefined: set[tuple[str, str]]) -> str:
    """A Markdown table of these tasks."""
    lines = ["| estimator | " + " | ".join(f"{name} ({task.unit})" for name, task in tasks.items()) + " |"]
    lines.append("| --- |" + " --- |" * len(tasks))
    best = {
        name: min((_mean(scores[name, each]) for each in who if (name, each) in scores), default=0.0) for name in tasks
    }
    for each in who:
        cells = []
        for name, task in tasks.items():
            runs = scores.get((name, each))
            if runs is None:
                cells.append("-" if (name, each) in undefined else "")
            else:
                cells.append(_cell(runs, task.digits, _mean(runs) == best[name]))
        if any(cells):
            lines.append(f"| {each} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(scores: Scores, tasks: Mapping[str, Task], who: Sequence[str]) -> list[str]:
    """For each task, the lowest mean of the estimators but ReinMax, beside ReinMax's at each of its temperatures."""
    lines = []
    for name, task in tasks.items():
        means = {each: _mean(scores[name, each]) for each in who if (name, each) in scores}
        peers = {each: mean for each, mean in means.items() if each == PEER or each in FIXED}
        others = {each: mean for each, mean in means.items() if each not in peers}
        if PEER in peers and others:
            best = min(others, key=lambda each: others[each])
            told = ", ".join(
                f"{each} {mean:.{task.digits}f} ({others[best] - mean:+.{task.digits}f})"
                for each, mean in peers.items()
            )
            lines.append(f"- {name}: {best} {others[best]:.{task.digits}f}; {told}")
    return lines


def picture(scores: Scores, tasks: Mapping[str, Task], who: Sequence[str], file: Path) -> None:
    """One panel a task: a dot for each seed, a bar at the mean, estimators from best to worst."""
    import matplotlib.pyplot as plt

    shown = {name: task for name, task in tasks.items() if any((name, each) in scores for each in who)}
    if not shown:
        return
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    tall = max(len([each for each in who if (name, each) in scores]) for name in shown)
    figure, axes = plt.subplots(lines, columns, figsize=(4.2 * columns, (1.0 + 0.21 * tall) * lines), squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.axis("off")
    for axis, (name, task) in zip(axes.flat, shown.items(), strict=False):
        ranked = [each for each in who if (name, each) in scores and _mean(scores[name, each]) < FAILED]
        ranked.sort(key=lambda each: _mean(scores[name, each]), reverse=True)
        for place, each in enumerate(ranked):
            values = [run.score for run in scores[name, each].values()]
            colour = "tab:orange" if each == PEER else "tab:blue"
            axis.plot(values, [place] * len(values), "o", color=colour, alpha=0.5, markersize=4, clip_on=True)
            axis.plot([_mean(scores[name, each])], [place], "|", color=colour, markersize=12, markeredgewidth=2)
        axis.set_yticks(range(len(ranked)), ranked, fontsize=7)
        shown_dots = [
            run.score for each in ranked[-max(6, 3 * len(ranked) // 4) :] for run in scores[name, each].values()
        ]
        least, most = min(shown_dots), max(shown_dots)
        pad = 0.06 * max(most - least, 1e-3)
        axis.set_xlim(least - pad, most + pad)  # the worst quarter would hide how the others differ
        axis.set_title(f"{name}: {task.unit}", fontsize=9)
        axis.tick_params(axis="x", labelsize=7)
        axis.grid(axis="x", alpha=0.3)
    figure.set_layout_engine("constrained")
    figure.savefig(file, dpi=90, metadata={"Software": None})
    plt.close(figure)


def write_page(
    rows: Sequence[Run], tasks: Mapping[str, Task], folder: Path, plans: Sequence[Plan], undefined: set[tuple[str, str]]
) -> None:
    """Writes the page and its pictures."""
    scores = _by_seed(rows)
    who = sorted({each for _, each in scores} | {each for _, each in undefined}, key=str.lower)
    vaes = {name: task for name, task in tasks.items() if name.startswith("VAE")}
    others = {name: task for name, task in tasks.items() if name not in vaes}
    text = [HEAD.format(plans=", ".join(map(str, plans)))]
    for title, part, file in (("VAEs on MNIST, 2 epochs", vaes, "vae.png"), ("Other tasks", others, "others.png")):
        picture(scores, part, who, folder / file)
        text += [f"## {title}\n", f"![One dot a seed; {PEER} in orange](results/{file})\n"]
        text += [table(scores, part, who, undefined), "", HEAD_OF_LIST]
        text += [*differences(scores, part, who), ""]
    counts = ", ".join(f"{name} {task.seeds}" for name, task in tasks.items())
    text.append(f"Seeds: {counts}. One thread of an x86-64 CPU. What was measured is said in each task's file.")
    PAGE.write_text("\n".join(text) + "\n")
