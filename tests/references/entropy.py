"""Entropies and divergences from their sums, with Python floats: 0 log 0 is skipped, not repaired."""

import math
from collections.abc import Sequence


def softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > 0 else math.exp(logit) / (1 + math.exp(logit))


def entropy(p: Sequence[float]) -> float:
    return -sum(pi * math.log(pi) for pi in p if pi > 0)


def kl(p: Sequence[float], q: Sequence[float]) -> float:
    if any(pi > 0 and qi == 0 for pi, qi in zip(p, q, strict=True)):
        return math.inf
    return sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True) if pi > 0)


def perplexity(counts: Sequence[float]) -> float:
    total = sum(counts)
    return math.exp(entropy([count / total for count in counts])) if total else 0.0
