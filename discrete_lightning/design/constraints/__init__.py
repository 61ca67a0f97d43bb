"""Rules that designed sequences must satisfy: differentiable penalties during the search, exact checks of what is reported."""

from discrete_lightning.design.constraints.allowed_letters import AllowedLetters
from discrete_lightning.design.constraints.base import Constraint
from discrete_lightning.design.constraints.constraint_set import ConstraintSet
from discrete_lightning.design.constraints.feasibility import Unsatisfiable, check_satisfiable
from discrete_lightning.design.constraints.fixed_positions import FixedPositions, fix_all_but
from discrete_lightning.design.constraints.forbidden_motifs import ForbiddenMotifs
from discrete_lightning.design.constraints.gc_content import GCContent
from discrete_lightning.design.constraints.genetic_code import translate
from discrete_lightning.design.constraints.kept_letters import KeptLetters
from discrete_lightning.design.constraints.max_homopolymer import MaxHomopolymer
from discrete_lightning.design.constraints.max_repeat import MaxRepeat
from discrete_lightning.design.constraints.repair import repair
from discrete_lightning.design.constraints.synonymous_codons import SynonymousCodons

__all__ = [
    "AllowedLetters",
    "Constraint",
    "ConstraintSet",
    "FixedPositions",
    "ForbiddenMotifs",
    "GCContent",
    "KeptLetters",
    "MaxHomopolymer",
    "MaxRepeat",
    "SynonymousCodons",
    "Unsatisfiable",
    "check_satisfiable",
    "fix_all_but",
    "repair",
    "translate",
]
