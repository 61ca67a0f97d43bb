"""Your own oracle and your own rule: DNA that binds GATA2 and avoids CpG, edited from a promoter, in plain Python.

python recipes/design/promoter.py         takes seconds; writes designs.fasta, designs.csv and trajectory.png to ./runs/promoter

An oracle is any nn.Module of one-hot (batch, letters, length) to (batch,). A rule is a class whose penalty is 0 where the
rule is satisfied.
"""

from dataclasses import dataclass

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn

from discrete_lightning.callbacks import DesignTrajectory, DesignWriter
from discrete_lightning.design import Design, Edit, GradientSearch, Polish, Target
from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints import Constraint, FixedPositions, MaxHomopolymer
from discrete_lightning.design.oracles import MotifScan
from discrete_lightning.models import SequenceDesigner

PROMOTER = "ATGCTAGCCGTTAACGCATCGTACCGGATTTCAGGCATTACGGCTACTTGCAACGTAGGCTTCACCGTAGCAATGCGTACTGG"


class TwoSites(nn.Module):
    """The GATA2 score minus a tenth of the score of a TATA box. Any other module, such as a trained network, can be used."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted, self.unwanted = MotifScan("GATA2"), MotifScan("TBP", pseudocount=20.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.wanted(x) - 0.1 * torch.relu(self.unwanted(x))


@dataclass(frozen=True)
class FewCpG(Constraint):
    """At most `most` CpG. penalty = the expected number of CpG minus `most`, if positive."""

    most: int

    def penalty(self, probabilities: Tensor, alphabet: Alphabet) -> Tensor:
        c, g = alphabet.letters.index("C"), alphabet.letters.index("G")
        expected = (probabilities[..., :-1, c] * probabilities[..., 1:, g]).sum(-1)
        return (expected - self.most).clamp_min(0)


class Promoter(SequenceDesigner):
    """Your own designer: it reports what SequenceDesigner reports, without designs that contain a second start codon."""

    def designs(self, count: int | None = None) -> list[Design]:
        return [design for design in super().designs(count) if "ATG" not in design.sequence[1:]]


if __name__ == "__main__":
    seed_everything(1)
    designer = Promoter(
        oracle=TwoSites(),
        start=Edit(PROMOTER, edit_weight=0.1),
        goal=Target(10.0),
        constraints=[FixedPositions({0: "ATG"}), MaxHomopolymer(4), FewCpG(4)],
        search=GradientSearch(
            chains=4, steps=30, template_logit=6.0, polish=Polish(sequences=2, restarts=50, calls=400)
        ),
    )
    trainer = Trainer(
        max_epochs=-1,
        callbacks=[DesignWriter(), DesignTrajectory()],
        default_root_dir="runs/promoter",
        logger=False,
        enable_checkpointing=False,
    )
    trainer.fit(designer)
    for design in designer.designs()[:3]:
        print(f"{design.score:.3f}  {design.edits} edits  {design.sequence}")
