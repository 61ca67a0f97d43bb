"""Design of sequences, independent of Lightning: problems, searches over many chains at once, exact polish."""

from discrete_lightning.design.designs import Design, check, select
from discrete_lightning.design.evaluator import Evaluator
from discrete_lightning.design.goals import Goal, Maximize, Minimize, Target
from discrete_lightning.design.gradient_search import GradientSearch
from discrete_lightning.design.polish import Polish, Polisher
from discrete_lightning.design.pool import Pool
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.repair import repair
from discrete_lightning.design.search import Progress, Search
from discrete_lightning.design.start import Edit, FromNothing, Start

__all__ = [
    "Design",
    "DesignProblem",
    "Edit",
    "Evaluator",
    "FromNothing",
    "Goal",
    "GradientSearch",
    "Maximize",
    "Minimize",
    "Polish",
    "Polisher",
    "Pool",
    "Progress",
    "Search",
    "Start",
    "Target",
    "check",
    "repair",
    "select",
]
