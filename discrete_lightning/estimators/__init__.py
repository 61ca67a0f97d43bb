"""Gradient estimators for discrete choices: small frozen dataclasses over `functional`, which a config names by one word."""

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.estimators.contracted_reinmax import ContractedReinMax
from discrete_lightning.estimators.disarm import DisARM
from discrete_lightning.estimators.entmax import Entmax
from discrete_lightning.estimators.gapped_straight_through import GappedStraightThrough
from discrete_lightning.estimators.gumbel_rao import GumbelRao
from discrete_lightning.estimators.gumbel_softmax import GumbelSoftmax
from discrete_lightning.estimators.imle import IMLE
from discrete_lightning.estimators.indecater import IndeCateR
from discrete_lightning.estimators.leave_one_out import LeaveOneOut
from discrete_lightning.estimators.paired import Paired
from discrete_lightning.estimators.rebar import REBAR
from discrete_lightning.estimators.redge import ReDGE
from discrete_lightning.estimators.reinmax import ReinMax
from discrete_lightning.estimators.reinmax_cv import ReinMaxCV
from discrete_lightning.estimators.reinmax_rao import ReinMaxRao
from discrete_lightning.estimators.relax import RELAX
from discrete_lightning.estimators.simple import SIMPLE
from discrete_lightning.estimators.softmax import Softmax
from discrete_lightning.estimators.sparsemax import Sparsemax
from discrete_lightning.estimators.straight_through import StraightThrough
from discrete_lightning.estimators.straight_through_gumbel import StraightThroughGumbel
from discrete_lightning.estimators.stratified_reinmax import StratifiedReinMax

__all__ = [
    "IMLE",
    "REBAR",
    "RELAX",
    "SIMPLE",
    "ContractedReinMax",
    "DisARM",
    "Entmax",
    "Estimator",
    "GappedStraightThrough",
    "GumbelRao",
    "GumbelSoftmax",
    "IndeCateR",
    "LeaveOneOut",
    "Paired",
    "ReDGE",
    "ReinMax",
    "ReinMaxCV",
    "ReinMaxRao",
    "Softmax",
    "Sparsemax",
    "StraightThrough",
    "StraightThroughGumbel",
    "StratifiedReinMax",
]
