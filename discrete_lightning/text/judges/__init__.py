"""Frozen models that score sampled lines, and can be differentiated with respect to them."""

from discrete_lightning.text.judges.classifier import ClassifierJudge
from discrete_lightning.text.judges.judge import Judge
from discrete_lightning.text.judges.language import LanguageJudge

__all__ = ["ClassifierJudge", "Judge", "LanguageJudge"]
