"""Verse: the language model, RLOO with its KL brake, and what needs no gradient of a reward: filtering and choosing.

    discrete-lightning fit -c text/verse --model.base BASE --seed_everything 1 --run_dir RUN1     (and so on)
    python -m benchmarks.text.verse RUN1 RUN2 RUN3

Each run of text/verse holds the generator and the language model that it started from. For each are printed

    base             the language model, and held-out verse
    RLOO             the generator
    filtered MLE     the language model, trained for two epochs on those of its own couplets whose lines are both in metre, out
                     of as many as RLOO drew (--draws)
    best of n        of n couplets of the language model that with the largest reward, n by the KL of RLOO: at most
                     log n - (n - 1) / n nats

metre: share of lines; rhyme: share of couplets; KL in nats a couplet; efficiency: `form_divergence` over KL; distinct-2 of
1,000 lines; held-out: nats a word of the test plays' verse, less the language model's.
"""

import argparse
import copy
from collections.abc import Sequence
from math import log
from pathlib import Path

import torch
from torch import Tensor

from discrete_lightning.data.dataset import as_is
from discrete_lightning.text import form_divergence
from discrete_lightning.text.metrics import distinct_lines, distinct_n
from discrete_lightning.text.metrics.words import words_of
from discrete_lightning.text.networks import TokenNetwork
from discrete_lightning.text.training.rewarded_generator import RewardedGenerator
from discrete_lightning.text.training.verses import Texts, Verses
from discrete_lightning.text.verse import CoupletReward, Outcome
from discrete_lightning.training.checkpoints import find_checkpoint

_BATCH = 500


def drawn(model: RewardedGenerator, count: int, generator: torch.Generator, reference: bool) -> tuple[list[str], float]:
    """Texts, and of the generator their mean exact KL."""
    texts: list[str] = []
    kl = 0.0
    with torch.no_grad():
        for start in range(0, count, _BATCH):
            found = model.draw(min(_BATCH, count - start), reference=reference, generator=generator)
            texts += found.texts
            kl += 0.0 if reference else float(model.scored(found.sequences)[1].sum())
    return texts, kl / count


def held_out(model: RewardedGenerator, network: TokenNetwork, data: Verses) -> float:
    """Nats a word of the test plays' verse."""
    assert model.tokenizer is not None
    nats, words = 0.0, 0
    with torch.no_grad():
        for inputs, targets in data.test_dataloader():
            nats += float(model.nats_of_lines(network, inputs, targets)[0])
            words += sum(len(words_of(model.tokenizer.decode([t for t in row if t >= 0]))) for row in targets.tolist())
    return nats / words


def row(
    name: str, texts: Sequence[str], outcomes: Sequence[Outcome], kl: float, bound: float | None, nats: float
) -> None:
    lines = [line for text in texts for line in text.strip("\n").split("\n")][:1000]
    metre = sum(flag for outcome in outcomes for flag in outcome.metre) / (2 * len(outcomes))
    rhyme = sum(outcome.rhyme for outcome in outcomes) / len(outcomes)
    shown = "" if bound is None or not kl else f"{bound / kl:.2f}"
    print(
        f"  {name:<22} metre {metre:.3f}  rhyme {rhyme:.3f}  KL {kl:5.2f}  efficiency {shown:<5}"
        f" distinct-2 {distinct_n(lines, 2):.3f}  distinct lines {distinct_lines(lines):.3f}  held-out {nats:+.3f}",
        flush=True,
    )


def filtered(model: RewardedGenerator, draws: int, generator: torch.Generator) -> int:
    """Trains the network, which starts as the reference, on its own draws that are in metre; returns how many these are."""
    reward = model.reward
    assert isinstance(reward, CoupletReward)
    assert model.tokenizer is not None
    texts, _ = drawn(model, draws, generator, reference=True)
    kept = [text for text, outcome in zip(texts, reward.outcomes(texts), strict=True) if all(outcome.metre)]
    data = Texts([model.tokenizer.encode("\n" + text) for text in kept])
    loader = torch.utils.data.DataLoader(
        data, 64, shuffle=True, collate_fn=as_is, generator=torch.Generator().manual_seed(0)
    )
    steps, step = 2 * len(loader), 0
    optimizer = torch.optim.Adam(model.network.parameters(), 1e-3, betas=(0.9, 0.99))
    for _ in range(2):
        for inputs, targets in loader:
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * (1 - step / steps)
            nats, count = model.nats_of_lines(model.network, inputs, targets)
            optimizer.zero_grad(set_to_none=True)
            (nats / count).backward()
            torch.nn.utils.clip_grad_norm_(model.network.parameters(), 1.0)
            optimizer.step()
            step += 1
    return len(kept)


def best_of(texts: Sequence[str], rewards: Tensor, n: int) -> list[str]:
    """Of each n texts that with the largest reward."""
    groups = len(texts) // n
    best = rewards[: groups * n].view(groups, n).argmax(1)
    return [texts[i * n + int(best[i])] for i in range(groups)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--draws", type=int, default=500 * 128, help="couplets that filtered MLE chooses from")
    parser.add_argument("--samples", type=int, default=3000)
    options = parser.parse_args()
    data = Verses()
    data.setup()
    for run in options.runs:
        model = RewardedGenerator.load_from_checkpoint(find_checkpoint("last", run), map_location="cpu").eval()
        reward = model.reward
        assert isinstance(reward, CoupletReward)
        generator = torch.Generator().manual_seed(0)
        print(run.name)
        start = held_out(model, model.reference, data)
        base, _ = drawn(model, 8 * options.samples, generator, reference=True)
        forms = reward.outcomes(base)
        row("base", base, forms, 0.0, None, 0.0)
        # couplets that do not overlap: a line counts once
        verse = [
            "\n".join(speech[i : i + 2]) + "\n"
            for speech in data.speeches("test")
            for i in range(0, len(speech) - 1, 2)
        ]
        row("held-out verse", verse, reward.outcomes(verse), 0.0, None, 0.0)

        def bound(outcomes: Sequence[Outcome], forms: Sequence[Outcome] = forms) -> float:
            return form_divergence([(*o.metre, o.rhyme) for o in outcomes], [(*o.metre, o.rhyme) for o in forms])

        texts, kl = drawn(model, options.samples, generator, reference=False)
        outcomes = reward.outcomes(texts)
        row("RLOO", texts, outcomes, kl, bound(outcomes), held_out(model, model.network, data) - start)
        n = max(2, next(n for n in range(1, 10_000) if log(n) - (n - 1) / n > kl) - 1)
        rewards = torch.tensor([sum(pair) for pair in reward(base)])
        chosen = best_of(base, rewards, n)
        outcomes = reward.outcomes(chosen)
        row(f"best of {n}", chosen, outcomes, log(n) - (n - 1) / n, bound(outcomes), 0.0)
        model.network.load_state_dict(copy.deepcopy(model.reference.state_dict()))
        kept = filtered(model, options.draws, generator)
        texts, kl = drawn(model, options.samples, generator, reference=False)
        outcomes = reward.outcomes(texts)
        name = f"filtered MLE ({kept:,})"
        row(name, texts, outcomes, kl, bound(outcomes), held_out(model, model.network, data) - start)


if __name__ == "__main__":
    main()
