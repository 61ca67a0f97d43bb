"""Design of sequences, independent of Lightning: problems, searches over many chains at once, exact polish."""

from discrete_lightning.design.evaluator import Evaluator
from discrete_lightning.design.goals import Goal, Maximize, Minimize, Target
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.base import Progress, Search
from discrete_lightning.design.search.designs import Design, check, select
from discrete_lightning.design.search.gaussian_process import GaussianProcess, Hyperparameters
from discrete_lightning.design.search.gradient import GradientSearch
from discrete_lightning.design.search.pareto import NoFront, ParetoFront, non_dominated
from discrete_lightning.design.search.polish import Polish, Polisher
from discrete_lightning.design.search.pool import Pool
from discrete_lightning.design.search.repair import repair
from discrete_lightning.design.search.surrogate import SurrogateSearch
from discrete_lightning.design.start import Edit, FromNothing, FromSequences, Start

__all__ = [
    "Design",
    "DesignProblem",
    "Edit",
    "Evaluator",
    "FromNothing",
    "FromSequences",
    "GaussianProcess",
    "Goal",
    "GradientSearch",
    "Hyperparameters",
    "Maximize",
    "Minimize",
    "NoFront",
    "ParetoFront",
    "Polish",
    "Polisher",
    "Pool",
    "Progress",
    "Search",
    "Start",
    "SurrogateSearch",
    "Target",
    "check",
    "non_dominated",
    "repair",
    "select",
]
