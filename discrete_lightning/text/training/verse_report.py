"""What a generator of verse has learnt, beside the language model that it started from and beside held-out verse."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.text.form_divergence import form_divergence
from discrete_lightning.text.metrics import copied_runs, distinct_lines, distinct_n
from discrete_lightning.text.training.rewarded_generator import RewardedGenerator
from discrete_lightning.text.training.verses import Verses
from discrete_lightning.text.verse import CoupletReward, Outcome
from discrete_lightning.text.verse_page import verse_page, verse_text
from discrete_lightning.training.atomic_write import write_table, write_text
from discrete_lightning.training.pictures import never_ends_a_run, save_figure
from discrete_lightning.training.run_files import fresh_path, output_folder
from discrete_lightning.training.wandb_media import log_table

_BATCH = 500  # texts drawn at a time
_LINES = 1000  # distinct-2 depends on how many lines there are


class VerseReport(Callback):
    """Tests a `RewardedGenerator` whose reward is a `CoupletReward`: figures, a page of poems, quality against diversity.

    Logged in a test, of texts of the generator; `base_` is before the names of those of the language model that it started
    from, `held_out_` before those of the test plays' verse, which are the target:

        test/metre            share of lines in metre
        test/rhyme            share of couplets that rhyme
        test/distinct_lines   share of different lines among all
        test/distinct_2       share of different pairs of words among all, of 1,000 lines
        test/copied_5, copied_8   share of runs of 5 and 8 words that stand in the training verse
        test/kl               exact KL to the language model, nats a couplet
        test/kl_efficiency    the least KL of any generator of these forms over that KL: see `form_divergence`

    It writes poems.html and poems.txt, with stress marks; quality.png and quality.csv: the share in metre against distinct-2 at
    temperatures from .5 to 1.2, for both.

    Args:
        samples: couplets of the generator, 2 or more; of the language model 4 times as many.
        temperatures: of the curve; empty: no curve.
        poems: on the page, 1 or more.
        page: name of the page; None: neither page nor text.
        picture: name of the curve's picture; None: none.
        seed: of the draws.

    Raises:
        ValueError: if a number is out of range; in setup, if the model is no such generator.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[VerseReport(samples=100)], logger=False, enable_checkpointing=False)
    """

    def __init__(
        self,
        samples: int = 2000,
        temperatures: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2),
        poems: int = 24,
        page: str | None = "poems.html",
        picture: str | None = "quality.png",
        seed: int = 0,
    ) -> None:
        check_at_least(2, samples=samples)
        check_at_least(1, poems=poems)
        self.samples, self.temperatures, self.poems = samples, tuple(temperatures), poems
        self.page, self.picture, self.seed = page, picture, seed

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, RewardedGenerator) or not isinstance(pl_module.reward, CoupletReward):
            raise ValueError(
                "VerseReport tests a RewardedGenerator whose reward is a CoupletReward, and the model is a "
                f"{type(pl_module).__name__}"
            )
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, Verses):
            raise ValueError(f"VerseReport compares with the verse of Verses, and the data is {type(data).__name__}")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, RewardedGenerator)
        found = self._report(trainer, pl_module) if trainer.is_global_zero else {}
        for name, value in trainer.strategy.broadcast(found).items():
            pl_module.log(f"test/{name}", value, rank_zero_only=True)

    def _report(self, trainer: Trainer, model: RewardedGenerator) -> dict[str, float]:
        data, reward = trainer.datamodule, model.reward  # type: ignore[attr-defined]
        assert isinstance(reward, CoupletReward)
        training = [line for speech in data.speeches("train") for line in speech]
        generator = torch.Generator(model.device).manual_seed(self.seed)
        few = trainer.fast_dev_run  # type: ignore[attr-defined]
        samples = 8 if few else self.samples
        mine, kl = self._drawn(model, samples, generator)
        theirs, _ = self._drawn(model, 4 * samples, generator, reference=True)
        held_out = data.verse_texts("test")
        outcomes = {"": reward.outcomes(mine), "base_": reward.outcomes(theirs), "held_out_": reward.outcomes(held_out)}
        texts = {"": mine, "base_": theirs, "held_out_": held_out}
        found: dict[str, float] = {}
        for name, each in outcomes.items():
            lines = [line for text in texts[name] for line in text.strip("\n").split("\n")]
            if name == "held_out_":  # its couplets overlap
                lines = [line for speech in data.speeches("test") for line in speech]
            found[f"{name}metre"] = _share([flag for outcome in each for flag in outcome.metre])
            found[f"{name}rhyme"] = _share([outcome.rhyme for outcome in each])
            found[f"{name}distinct_lines"] = distinct_lines(lines[:_LINES])
            found[f"{name}distinct_2"] = distinct_n(lines[:_LINES], 2)
            for n in (5, 8):  # not the metric: this rank alone computes
                found[f"{name}copied_{n}"] = copied_runs(lines[: 2 * len(mine)], training, n)
        found["kl"] = kl
        bound = form_divergence(map(_form, outcomes[""]), map(_form, outcomes["base_"]))
        found["kl_efficiency"] = bound / kl if kl > 0 else 1.0
        if not few:
            with never_ends_a_run("the poems"):
                self._write_poems(trainer, reward, mine, outcomes[""], found)
            if self.temperatures and self.picture:
                with never_ends_a_run(self.picture):
                    self._write_curve(trainer, model, reward, generator)
        return found

    @torch.no_grad()
    def _drawn(
        self,
        model: RewardedGenerator,
        samples: int,
        generator: torch.Generator,
        temperature: float = 1.0,
        reference: bool = False,
    ) -> tuple[list[str], float]:
        """Texts, and the mean of their exact KL where they are plain draws of the generator."""
        texts: list[str] = []
        kl = 0.0
        with model.trainer.precision_plugin.forward_context():
            for start in range(0, samples, _BATCH):
                drawn = model.draw(min(_BATCH, samples - start), temperature, reference, generator)
                texts += drawn.texts
                if not reference and temperature == 1:
                    kl += float(model.scored(drawn.sequences)[1].sum())
        return texts, kl / samples

    def _write_poems(
        self,
        trainer: Trainer,
        reward: CoupletReward,
        texts: Sequence[str],
        outcomes: Sequence[Outcome],
        figures: dict[str, float],
    ) -> None:
        # as they came, so that the page shows what a reader would get
        poems = [text.strip("\n").split("\n") for text in texts[: self.poems]]
        caption = (
            f"{figures['metre']:.0%} of lines in metre (held-out verse {figures['held_out_metre']:.0%}, before training "
            f"{figures['base_metre']:.0%}); {figures['rhyme']:.0%} of couplets rhyme ({figures['held_out_rhyme']:.0%}, "
            f"{figures['base_rhyme']:.0%})"
        )
        if self.page:
            arguments: dict[str, Any] = {
                "scan": reward.scan, "rhymes": reward.rhymes, "title": "Couplets", "caption": caption,
                "syllables": reward.syllables,
            }  # fmt: skip
            folder = output_folder(trainer)
            write_text(fresh_path(folder, self.page), verse_page(poems, **arguments))
            write_text(fresh_path(folder, self.page.rpartition(".")[0] + ".txt"), verse_text(poems, **arguments))
        print("--- " + caption)
        print("\n\n".join("\n".join(poem) for poem in poems[:4]) + "\n---")
        rows = [
            [text.strip("\n"), sum(outcome.metre), int(outcome.rhyme)]
            for text, outcome in zip(texts[:200], outcomes, strict=False)
        ]
        log_table(trainer, "poems", ["couplet", "lines in metre", "rhymes"], rows)

    def _write_curve(
        self, trainer: Trainer, model: RewardedGenerator, reward: CoupletReward, generator: torch.Generator
    ) -> None:
        rows: list[dict[str, Any]] = []
        for name, reference in (("generator", False), ("language model", True)):
            for temperature in self.temperatures:
                texts, _ = self._drawn(model, _BATCH, generator, temperature, reference)
                outcomes = reward.outcomes(texts)
                lines = [line for text in texts for line in text.strip("\n").split("\n")]
                rows.append(
                    {
                        "model": name,
                        "temperature": temperature,
                        "metre": _share([flag for outcome in outcomes for flag in outcome.metre]),
                        "rhyme": _share([outcome.rhyme for outcome in outcomes]),
                        "distinct_2": distinct_n(lines[:_LINES], 2),
                        "distinct_lines": distinct_lines(lines[:_LINES]),
                    }
                )
        assert self.picture is not None
        name = self.picture.rpartition(".")[0] + ".csv"
        write_table(fresh_path(output_folder(trainer), name), list(rows[0]), rows)
        save_figure(trainer, _draw_curve(rows), self.picture, "verse/quality", _CAPTION)


def _form(outcome: Outcome) -> tuple[bool, ...]:
    return (*outcome.metre, outcome.rhyme)


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / max(1, len(flags))


def _draw_curve(rows: Sequence[dict[str, Any]]) -> Any:
    from matplotlib.figure import Figure  # an optional dependency, and slow to import

    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for name in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == name]
        axis.plot([row["distinct_2"] for row in mine], [row["metre"] for row in mine], marker="o", label=name)
        for row in mine:
            axis.annotate(
                f"{row['temperature']:g}", (row["distinct_2"], row["metre"]), fontsize=7,
                textcoords="offset points", xytext=(4, 4),
            )  # fmt: skip
    axis.set(xlabel="distinct-2 of 1,000 lines", ylabel="share of lines in metre", ylim=(0, 1))
    axis.legend()
    return figure


_CAPTION = "Share of lines in metre against the variety of the words, at temperatures from low to high (at the points)."
