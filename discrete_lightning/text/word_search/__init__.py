"""Searches for the words of a line that a frozen language model finds most likely."""

from discrete_lightning.text.word_search.coordinate import CoordinateSearch
from discrete_lightning.text.word_search.coordinate_gradient import GreedyCoordinateGradient
from discrete_lightning.text.word_search.gibbs_with_gradients import GibbsWithGradients
from discrete_lightning.text.word_search.iterated_local_search import IteratedLocalSearch
from discrete_lightning.text.word_search.path import PathSearch
from discrete_lightning.text.word_search.problem import Evaluated, WordProblem
from discrete_lightning.text.word_search.search import Found, WordSearch

__all__ = [
    "CoordinateSearch",
    "Evaluated",
    "Found",
    "GibbsWithGradients",
    "GreedyCoordinateGradient",
    "IteratedLocalSearch",
    "PathSearch",
    "WordProblem",
    "WordSearch",
]
