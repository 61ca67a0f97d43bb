from discrete_lightning.layers.relaxation_gap import RelaxationGap as RelaxationGap
from discrete_lightning.layers.usage import CodePerplexity as CodePerplexity
from discrete_lightning.layers.usage import CodeUsage as CodeUsage
from discrete_lightning.layers.usage import LiveCodes as LiveCodes
from discrete_lightning.routing.expert_load import ExpertLoad as ExpertLoad
