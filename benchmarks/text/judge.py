"""How many lines a generator has to draw to please a frozen judge: through its words, against the score function.

python -m benchmarks.text.judge [--seeds 3]

A small GRU (V = 1,500 words and bytes) that writes lines of at most 16 tokens, trained on half of Shakespeare's plays.
Two judges: a classifier (is the line from a comedy, not from a history? score: log p), and a language model that has read the
other half (score: mean log p a token). All start from one network. Leave-one-out (each line's baseline is the mean of the
others) draws 6,400 lines; the ways through words draw a tenth. `score` is the judge's mean over 500 lines drawn exactly,
`score-bKL` the objective, b the weight that leave-one-out has, `reached at` the first of five evaluations at or above the score
at which leave-one-out ends (a later one may be below it again).

Bar: a way through words reaches the score at which leave-one-out ends, with a tenth of its lines, in 3 of 3 seeds. Gradients
through words are biased, and settle where the brake holds them earlier, so that equal weights give unequal KL: the rows with a
smaller weight show what they reach with more KL. results/judge.txt: the classifier's score is reached at equal weight by
straight-through in 2 of 3 seeds (in one of them it stays there), at half the weight in 3 of 3, with more KL than leave-one-out;
the language model's, which judges each token by those before it, is not reached.
"""

import argparse
import copy
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.data.shakespeare import plain, play_files
from discrete_lightning.data.tokenizers import WordTokenizer
from discrete_lightning.estimators import (
    Estimator,
    GumbelRao,
    ReinMax,
    StraightThrough,
)
from discrete_lightning.text import ClassifierJudge, GRUNetwork, Judge, LanguageJudge, TokenChoice
from discrete_lightning.text.judged_lines import JudgedLines, judged_lines

KINDS = ("comedies", "histories")
V, LENGTH, END = 1500, 16, 10
MOST, SHARE, EVALUATIONS = 6400, 0.1, 5
KL_WEIGHT = {"comedy": 0.3, "language": 1.0}
# estimator, temperature, learning rate, lines a step, share of the KL weight
WAYS: dict[str, tuple[Estimator | None, float, float, int, float]] = {
    "LeaveOneOut": (None, 1.0, 1e-3, 64, 1.0),
    "StraightThrough": (StraightThrough(), 1.0, 2e-3, 16, 1.0),
    "ReinMax": (ReinMax(), 1.0, 2e-3, 16, 1.0),
    "GumbelRao": (GumbelRao(), 0.5, 2e-3, 16, 1.0),
    "StraightThrough, weight/2": (StraightThrough(), 1.0, 2e-3, 16, 0.5),
    "ReinMax, weight/2": (ReinMax(), 1.0, 2e-3, 16, 0.5),
}


def lines_of(names: list[str], tokenizer: WordTokenizer) -> tuple[Tensor, Tensor]:
    """Lines of 4 to 16 tokens, the line end included and repeated, (N, 16), and whether each is of a comedy."""
    files = play_files()
    lines: list[list[int]] = []
    comic: list[int] = []
    for name in names:
        for line in plain(files[name].read_text(encoding="utf-8")).split("\n"):
            tokens = [*tokenizer.encode(line.strip()), END]
            if 4 <= len(tokens) <= LENGTH and not line.isupper():
                lines.append(tokens + [END] * (LENGTH - len(tokens)))
                comic.append(int(files[name].parent.name == "comedies"))
    return torch.tensor(lines), torch.tensor(comic)


def mask_of(lines: Tensor) -> Tensor:
    ended = lines == END
    return ended.cumsum(1) - ended.long() == 0


def learn_lines(network: GRUNetwork, lines: Tensor, steps: int) -> None:
    """Cross-entropy of lines after a line end."""
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * (1 - step / steps)
        some = lines[torch.randint(len(lines), (64,))]
        inputs = torch.cat([torch.full((64, 1), END), some[:, :-1]], 1)
        targets = some.masked_fill(~mask_of(some), -100)
        loss = nn.functional.cross_entropy(network(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def started(judges_of: Sequence[str]) -> tuple[GRUNetwork, dict[str, Judge]]:
    """The generator, and the judges of these names, which have read other plays."""
    torch.manual_seed(0)
    names = sorted(play_files())
    mine, theirs = names[::2], names[1::2]
    tokenizer = WordTokenizer.learn(
        "\n".join(plain(play_files()[name].read_text(encoding="utf-8")) for name in mine), V
    )
    lines, _ = lines_of(mine, tokenizer)
    others, _ = lines_of(theirs, tokenizer)
    network = GRUNetwork(tokenizer.size, dim=64, hidden_dim=128)
    learn_lines(network, lines, 800)
    classifier = ClassifierJudge(tokenizer.size)
    two, comic = lines_of([each for each in names if play_files()[each].parent.name in KINDS], tokenizer)
    kept = torch.cat([(comic == kind).nonzero()[: int(comic.sum()), 0] for kind in (0, 1)])  # as many of each
    accuracy = classifier.learn(two[kept], comic[kept], mask_of(two[kept]), steps=600)
    judges: dict[str, Judge] = {"comedy": classifier}
    if "language" in judges_of:
        read = GRUNetwork(tokenizer.size, dim=64, hidden_dim=128)
        learn_lines(read, others, 800)
        judges["language"] = LanguageJudge(read, prompt=END)
    held = f"{len(kept) // 10:,} held-out lines, half of them comic"
    print(f"{len(lines):,} and {len(others):,} lines; the classifier is right about {accuracy:.2f} of {held}")
    for name, judge in judges.items():
        with torch.no_grad():
            print(f"{name}: {len(lines):,} lines of the generator's plays score {score_text(judge, lines):.3f}")
    return network, judges


def score_text(judge: Judge, lines: Tensor) -> float:
    some = lines[:: max(1, len(lines) // 2000)]
    return float(judge.score_tokens(some, mask_of(some)).mean())


def draw(network: GRUNetwork, base: GRUNetwork, judge: Judge, weight: float) -> JudgedLines:
    with torch.no_grad():
        prompt = torch.full((500, 1), END)
        generator = torch.Generator().manual_seed(12345)
        return judged_lines(
            network, base, judge, prompt, LENGTH, choice=None, kl_weight=weight, end=END, generator=generator
        )


def distinct_2(lines: JudgedLines) -> float:
    both = lines.tokens[:, :-1] * V * 2 + lines.tokens[:, 1:]
    pairs = both[lines.mask[:, 1:]]
    return len(pairs.unique()) / len(pairs)


def train(
    base: GRUNetwork, judge: Judge, weight: float, way: str, seed: int, lines: int
) -> tuple[list[tuple[int, float]], JudgedLines, float]:  # fmt: skip
    """(lines drawn, score) as it learns, what it draws in the end, and the seconds of its steps."""
    estimator, tau, rate, size, share = WAYS[way]
    torch.manual_seed(seed)
    network = copy.deepcopy(base)
    choice = None if estimator is None else TokenChoice(estimator, tau)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    steps, spent, curve = lines // size, 0.0, []
    for step in range(steps):
        start = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        prompt = torch.full((size, 1), END)
        loss = judged_lines(network, base, judge, prompt, LENGTH, choice=choice, kl_weight=share * weight, end=END).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        spent += time.process_time() - start
        if (step + 1) % max(1, steps // EVALUATIONS) == 0 or step + 1 == steps:
            curve.append(((step + 1) * size, float(draw(network, base, judge, weight).scores.mean())))
    return curve, draw(network, base, judge, weight), spent


def row(label: str, lines: int, found: JudgedLines, weight: float, tail: str) -> None:
    score, kl = float(found.scores.mean()), float(found.kl.mean())
    print(
        f"  {label:34}{lines:>8,}{score:9.3f}{kl:8.2f}{score - weight * kl:9.3f}{distinct_2(found):8.2f}{tail}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="LeaveOneOut comes first")
    parser.add_argument("--judges", nargs="+", choices=list(KL_WEIGHT), default=list(KL_WEIGHT))
    arguments = parser.parse_args()
    base, judges = started(arguments.judges)
    for name in arguments.judges:
        judge = judges[name]
        weight, reached = KL_WEIGHT[name], dict.fromkeys(arguments.ways, 0)
        print(f"\njudge: {name}, KL weight {weight}")
        print(
            f"  {'':34}{'lines':>8}{'score':>9}{'KL':>8}{'score-bKL':>9}{'dist-2':>8}{'reached at':>12}{'seconds':>9}"
        )
        row("start", 0, draw(base, base, judge, weight), weight, "")
        for seed in range(arguments.seeds):
            goal = 0.0
            for way in arguments.ways:
                lines = MOST if way == "LeaveOneOut" else int(MOST * SHARE)
                curve, found, seconds = train(base, judge, weight, way, seed, lines)
                goal = float(found.scores.mean()) if way == "LeaveOneOut" else goal
                at = next((drawn for drawn, score in curve if score >= goal), None)
                reached[way] += way != "LeaveOneOut" and at is not None
                row(
                    f"{way}, seed {seed}", lines, found, weight, f"{'-' if at is None else f'{at:,}':>12}{seconds:9.0f}"
                )
        print(f"  seeds in which leave-one-out's last score is reached with {SHARE:g} of its lines:", end=" ")
        print(", ".join(f"{way} {count}" for way, count in reached.items() if way != "LeaveOneOut"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
