"""Five free words before four fixed ones: nats of the line under a frozen language model, at equal evaluations of it.

python -m benchmarks.text.optimise --base RUN [--evaluations 2000] [--seeds 3] [--lines 20] [--methods NAME ...]

RUN is the folder of a run of text/quickstart, or a checkpoint. The lines are of four plays that the model has not seen: nine
words, a capital first, none of them spelt in bytes; the last four stay. One evaluation is one line through the network
forwards; backwards counts as one more, and drawing a next word for a line as one. All methods start from lines drawn from
the network. Peers are written by us: coordinate search (words proposed by the gradient, 4 a position, restarts), greedy
coordinate gradient (2307.15043, batch 64, top 256, restarts), GBDA (2104.13733, Adam .3, 10 samples, tau 1, start logit 12,
restarts) and its variants. Requirement: a lower mean than coordinate search and GBDA.
"""

import argparse
import time
from functools import partial

import torch
from torch import Tensor

from discrete_lightning.data import Shakespeare
from discrete_lightning.data.tokenizers import Tokenizer
from discrete_lightning.estimators import ReinMax, StraightThrough, StraightThroughGumbel
from discrete_lightning.text.networks import TokenNetwork
from discrete_lightning.text.training.base_network import read_network
from discrete_lightning.text.word_search import (
    CoordinateSearch,
    GibbsWithGradients,
    GreedyCoordinateGradient,
    IteratedLocalSearch,
    PathSearch,
    WordProblem,
)
from discrete_lightning.text.word_search.template import Template, words_only

METHODS = {
    "iterated local search": IteratedLocalSearch(),
    "coordinate search": CoordinateSearch(),
    "GBDA": PathSearch(),
    "Gibbs with gradients": GibbsWithGradients(end=0.2, begin=1.0),
    "greedy coordinate gradient": GreedyCoordinateGradient(),
    "straight-through": PathSearch(StraightThrough()),
    "straight-through Gumbel": PathSearch(StraightThroughGumbel()),
    "ReinMax": PathSearch(ReinMax()),
    "coordinate search, 16 a position": CoordinateSearch(16),
    "iterated, all proposals": IteratedLocalSearch(4),
}
FREE = torch.tensor([True] * 5 + [False] * 4)


def held_out_lines(tokenizer: Tokenizer, count: int) -> list[Template]:
    """Lines of nine words of the test plays, in an order of a fixed seed."""
    whole = words_only(Template("", torch.zeros(9), torch.ones(9, dtype=torch.bool)), tokenizer, tokenizer.size)
    found = []
    for line in dict.fromkeys(Shakespeare().text("test").split("\n")):
        tokens = torch.tensor(tokenizer.encode(line.rstrip(",;:.!?")))
        if len(tokens) == 9 and bool(whole[torch.arange(9), tokens].all()) and not line.split()[0].isupper():
            found.append(Template(line, tokens, FREE))
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(1)).tolist()
    return [found[i] for i in order[:count]]


def problem(network: TokenNetwork, tokenizer: Tokenizer, template: Template) -> WordProblem:
    allowed = words_only(template, tokenizer, network.vocabulary)
    return WordProblem(network, template.tokens, template.free, torch.tensor(tokenizer.encode("\n")), allowed)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", required=True)
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=20)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network, tokenizer = read_network(arguments.base)
    make = partial(problem, network, tokenizer)
    templates = held_out_lines(tokenizer, arguments.lines)
    own = [float(make(each).evaluate(each.tokens[None, :5]).nll) for each in templates]
    print(f"{len(templates)} lines, {arguments.seeds} seeds, {arguments.evaluations} evaluations, nats a line")
    print(f"{'Shakespeare':34}{mean(own):7.2f}", flush=True)
    reference: Tensor | None = None
    for name in arguments.methods:
        begin, values = time.process_time(), list[list[float]]()
        quarter: list[float] = []
        for seed in range(arguments.seeds):
            values.append([])
            for each in templates:
                found = METHODS[name].run(make(each), arguments.evaluations, torch.Generator().manual_seed(seed))
                assert found.evaluations <= arguments.evaluations
                values[-1].append(found.nll)
                quarter.append(
                    min([nll for at, nll in found.history if at <= arguments.evaluations // 4] or [torch.nan])
                )
        table = torch.tensor(values)
        line = f"{name:34}{float(table.mean()):7.2f}  seeds " + " ".join(f"{float(row.mean()):6.2f}" for row in table)
        line += f"  after a quarter {mean(quarter):6.2f}"
        if reference is None:
            reference = table
        else:
            gap = (table - reference).mean(0)  # of each line
            line += f"  above the first {float(gap.mean()):5.2f} +- {float(gap.std() / len(gap) ** 0.5):4.2f}"
        print(f"{line}  {time.process_time() - begin:4.0f} s", flush=True)


if __name__ == "__main__":
    main()
