"""Design of sequences, independent of Lightning: problems, searches over many chains at once, exact polish."""

from discrete_lightning.design.designs import Design, check, select
from discrete_lightning.design.evaluator import Evaluator
from discrete_lightning.design.gaussian_process import GaussianProcess, Hyperparameters
from discrete_lightning.design.goals import Goal, Maximize, Minimize, Target
from discrete_lightning.design.gradient_search import GradientSearch
from discrete_lightning.design.pareto import NoFront, ParetoFront, non_dominated
from discrete_lightning.design.polish import Polish, Polisher
from discrete_lightning.design.pool import Pool
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.repair import repair
from discrete_lightning.design.search import Progress, Search
from discrete_lightning.design.start import Edit, FromNothing, FromSequences, Start
from discrete_lightning.design.surrogate_search import SurrogateSearch

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
