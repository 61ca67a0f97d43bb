"""Text: the next word as a discrete choice, and generators that are trained through the words they sample."""

from discrete_lightning.text.form_divergence import form_divergence
from discrete_lightning.text.generation import (
    SampledSequence,
    generate,
    sample_sequences,
    sequence_log_probabilities,
    sequence_logits,
    stream_tokens,
)
from discrete_lightning.text.judges import ClassifierJudge, Judge, LanguageJudge
from discrete_lightning.text.networks import GRUNetwork, TokenNetwork, TransformerNetwork
from discrete_lightning.text.ngram import NGram
from discrete_lightning.text.relaxed_unroll import RelaxedUnroll, relaxed_unroll
from discrete_lightning.text.table_features import TableFeatures, feature_matrix
from discrete_lightning.text.token_choice import ChosenRows, TokenChoice
from discrete_lightning.text.verse import CoupletReward, Metre, Outcome, Rhyme, verse_lines
from discrete_lightning.text.verse_page import verse_page, verse_text

__all__ = [
    "ChosenRows",
    "ClassifierJudge",
    "CoupletReward",
    "GRUNetwork",
    "Judge",
    "LanguageJudge",
    "Metre",
    "NGram",
    "Outcome",
    "RelaxedUnroll",
    "Rhyme",
    "SampledSequence",
    "TableFeatures",
    "TokenChoice",
    "TokenNetwork",
    "TransformerNetwork",
    "feature_matrix",
    "form_divergence",
    "generate",
    "relaxed_unroll",
    "sample_sequences",
    "sequence_log_probabilities",
    "sequence_logits",
    "stream_tokens",
    "verse_lines",
    "verse_page",
    "verse_text",
]
