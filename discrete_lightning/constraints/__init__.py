"""Rules that designed sequences must keep: differentiable penalties while searching, hard checks at the end."""

from discrete_lightning.constraints.allowed_letters import AllowedLetters
from discrete_lightning.constraints.base import Constraint
from discrete_lightning.constraints.constraint_set import ConstraintSet
from discrete_lightning.constraints.feasibility import Unsatisfiable, check_satisfiable
from discrete_lightning.constraints.fixed_positions import FixedPositions, keep
from discrete_lightning.constraints.forbidden_motifs import ForbiddenMotifs
from discrete_lightning.constraints.gc_content import GCContent
from discrete_lightning.constraints.max_homopolymer import MaxHomopolymer
from discrete_lightning.constraints.max_repeat import MaxRepeat
from discrete_lightning.constraints.repair import repair
from discrete_lightning.constraints.synonymous_codons import SynonymousCodons, translate

__all__ = [
    "AllowedLetters",
    "Constraint",
    "ConstraintSet",
    "FixedPositions",
    "ForbiddenMotifs",
    "GCContent",
    "MaxHomopolymer",
    "MaxRepeat",
    "SynonymousCodons",
    "Unsatisfiable",
    "check_satisfiable",
    "keep",
    "repair",
    "translate",
]
