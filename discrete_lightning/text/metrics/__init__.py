"""What generated lines are like: variety, copies, form, and how well a model predicts text."""

from discrete_lightning.text.metrics.copied_runs import CopiedRuns, copied_runs
from discrete_lightning.text.metrics.distinct_lines import DistinctLines, distinct_lines
from discrete_lightning.text.metrics.distinct_n import DistinctN, distinct_n
from discrete_lightning.text.metrics.nats_per_character import NatsPerCharacter
from discrete_lightning.text.metrics.self_bleu import SelfBLEU, self_bleu
from discrete_lightning.text.metrics.share_in_form import ShareInForm
from discrete_lightning.text.metrics.words import words_of

__all__ = [
    "CopiedRuns",
    "DistinctLines",
    "DistinctN",
    "NatsPerCharacter",
    "SelfBLEU",
    "ShareInForm",
    "copied_runs",
    "distinct_lines",
    "distinct_n",
    "self_bleu",
    "words_of",
]
