"""Sequence design without Lightning: problems, searches over many chains at once, local search of the best sequences."""

from discrete_lightning.design.edit_distance import EditDistance
from discrete_lightning.design.evaluator import Evaluation, Evaluator
from discrete_lightning.design.goals import Goal, Maximize, Minimize, Target
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.base import Search
from discrete_lightning.design.search.best_overall import BestOverall
from discrete_lightning.design.search.best_per_chain import BestPerChain
from discrete_lightning.design.search.design import Design, check
from discrete_lightning.design.search.diverse_archive import DiverseArchive
from discrete_lightning.design.search.gaussian_process import GaussianProcess, Hyperparameters
from discrete_lightning.design.search.gradient import GradientSearch
from discrete_lightning.design.search.hypervolume import hypervolume
from discrete_lightning.design.search.metropolis import MetropolisSearch
from discrete_lightning.design.search.moves import GibbsMoves, LangevinMoves, Moves, PathMoves
from discrete_lightning.design.search.pareto import NoFront, ParetoFront, non_dominated
from discrete_lightning.design.search.pareto_search import ParetoSearch
from discrete_lightning.design.search.polish import Polish, Polisher
from discrete_lightning.design.search.scored_sequences import ScoredSequences
from discrete_lightning.design.search.selection import select
from discrete_lightning.design.search.surrogate import SurrogateSearch
from discrete_lightning.design.search.trajectory import Progress
from discrete_lightning.design.start import Edit, FromNothing, FromSequences, Start

__all__ = [
    "BestOverall",
    "BestPerChain",
    "Design",
    "DesignProblem",
    "DiverseArchive",
    "Edit",
    "EditDistance",
    "Evaluation",
    "Evaluator",
    "FromNothing",
    "FromSequences",
    "GaussianProcess",
    "GibbsMoves",
    "Goal",
    "GradientSearch",
    "Hyperparameters",
    "LangevinMoves",
    "Maximize",
    "MetropolisSearch",
    "Minimize",
    "Moves",
    "NoFront",
    "ParetoFront",
    "ParetoSearch",
    "PathMoves",
    "Polish",
    "Polisher",
    "Progress",
    "ScoredSequences",
    "Search",
    "Start",
    "SurrogateSearch",
    "Target",
    "check",
    "hypervolume",
    "non_dominated",
    "select",
]
