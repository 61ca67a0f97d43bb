"""torchmetrics for discrete models, right over several ranks."""

from discrete_lightning.metrics.code_usage import CodePerplexity, CodeUsage, LiveCodes
from discrete_lightning.metrics.relaxation_gap import RelaxationGap

__all__ = ["CodePerplexity", "CodeUsage", "LiveCodes", "RelaxationGap"]
