"""Oracles: modules that score one-hot or relaxed sequences (batch, letters, length)."""

from discrete_lightning.design.files import read_jaspar
from discrete_lightning.design.oracles.black_box import BlackBox
from discrete_lightning.design.oracles.composite import Composite
from discrete_lightning.design.oracles.ehrlich import Ehrlich
from discrete_lightning.design.oracles.ensemble import Ensemble
from discrete_lightning.design.oracles.function import FunctionOracle
from discrete_lightning.design.oracles.gb1 import GB1, GB1Surrogate
from discrete_lightning.design.oracles.ledidi import LedidiOracle
from discrete_lightning.design.oracles.motif_scan import MotifScan
from discrete_lightning.design.oracles.nucleobench import NucleoBenchOracle
from discrete_lightning.design.oracles.one_output import OneOutput
from discrete_lightning.design.oracles.sequence_cnn import SequenceCNN
from discrete_lightning.design.oracles.tangermeme import TangermemeOracle
from discrete_lightning.design.oracles.tfbind8 import TFBind8
from discrete_lightning.design.oracles.weighted_sum import WeightedSum

__all__ = [
    "GB1",
    "BlackBox",
    "Composite",
    "Ehrlich",
    "Ensemble",
    "FunctionOracle",
    "GB1Surrogate",
    "LedidiOracle",
    "MotifScan",
    "NucleoBenchOracle",
    "OneOutput",
    "SequenceCNN",
    "TFBind8",
    "TangermemeOracle",
    "WeightedSum",
    "read_jaspar",
]
