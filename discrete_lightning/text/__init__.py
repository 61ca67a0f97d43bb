"""Text: the next word as a discrete choice, and generators that are trained through the words they sample."""

from discrete_lightning.text.form_divergence import form_divergence
from discrete_lightning.text.generate import (
    SampledSequence,
    generate,
    sample_sequences,
    sequence_log_probabilities,
    sequence_logits,
    stream_tokens,
)
from discrete_lightning.text.networks import GRUNetwork, TokenNetwork, TransformerNetwork
from discrete_lightning.text.ngram import NGram
from discrete_lightning.text.table_features import TableFeatures, feature_matrix
from discrete_lightning.text.verse import CoupletReward, Metre, Outcome, Rhyme, verse_lines
from discrete_lightning.text.verse_page import verse_page, verse_text

__all__ = [
    "CoupletReward",
    "GRUNetwork",
    "Metre",
    "NGram",
    "Outcome",
    "Rhyme",
    "SampledSequence",
    "TableFeatures",
    "TokenNetwork",
    "TransformerNetwork",
    "feature_matrix",
    "form_divergence",
    "generate",
    "sample_sequences",
    "sequence_log_probabilities",
    "sequence_logits",
    "stream_tokens",
    "verse_lines",
    "verse_page",
    "verse_text",
]
