"""Text: the next word as a discrete choice, and generators that are trained through the words they sample."""

from discrete_lightning.text.judges import ClassifierJudge, Judge, LanguageJudge
from discrete_lightning.text.networks import GRUNetwork, TokenNetwork, TransformerNetwork
from discrete_lightning.text.relaxed_unroll import RelaxedUnroll, relaxed_unroll
from discrete_lightning.text.token_choice import ChosenRows, TokenChoice

__all__ = [
    "ChosenRows",
    "ClassifierJudge",
    "GRUNetwork",
    "Judge",
    "LanguageJudge",
    "RelaxedUnroll",
    "TokenChoice",
    "TokenNetwork",
    "TransformerNetwork",
    "relaxed_unroll",
]
