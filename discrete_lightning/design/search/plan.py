"""How GradientSearch spends a known number of oracle calls: local search of what is given, chains, local search of the best.

Without given sequences, about .3 of the calls go to chains and the others to the polish. The logits of a chain move by
learning_rate * steps = 15 in all, whatever the number of steps is (1 a step at most), so that a short chain is as sure of its
letters at its end as a long one. With a template the local search comes first, since few edits often suffice, and chains only
follow if there are calls for them. `benchmarks.design_anytime --development 100` has the problems on which the numbers were
chosen.
"""

from dataclasses import dataclass, field

from discrete_lightning.design.search.polish import Polish

_SHARE = 0.3  # of the calls, for the chains
_DRIFT = 15.0  # of logits: learning rate times steps
_CALLS_A_CHAIN = 300
_FEW = 200  # with so few calls, a local search of the given sequences has all of them
_FOREVER = 10**9


@dataclass(frozen=True)
class Plan:
    """The settings of a GradientSearch.

    Args:
        chains: the number of independent sequences.
        steps: the number of samples of each chain.
        learning_rate: of Adam, in logits a step.
        template_logit, init_std: of the initial logits; see GradientSearch.
        polish: the local search of the chains' best sequences.
        first: a local search of the given sequences before the chains; None: there is none.
    """

    chains: int = 64
    steps: int = 100
    learning_rate: float = 0.3
    template_logit: float = 1.0
    init_std: float = 1.0
    polish: Polish = field(default_factory=Polish)
    first: Polish | None = None


def planned(calls: int, given: int, calls_a_sample: int = 1) -> Plan:
    """The plan for a number of calls.

    Args:
        calls: the number of oracle calls, at least 1.
        given: the number of given sequences (1: a template, 0: the chains start from random sequences).
        calls_a_sample: the oracle calls that the estimator makes for each sample of a chain.

    Example:
        >>> planned(1000, given=0).chains, planned(1000, given=0).steps
        (3, 100)
        >>> planned(1000, given=1).first.calls, planned(100, given=1).steps
        (300, 0)
    """
    chains = min(64, max(1, round(calls / _CALLS_A_CHAIN)))
    steps = int(_SHARE * calls) // (chains * calls_a_sample)
    sequences = min(16, max(1, chains // 2))
    polish = Polish(proposals=4, patience=4, beam=8, sequences=sequences, restarts=_FOREVER, restarted=1)
    rate = min(1.0, _DRIFT / max(1, steps))
    if not given:
        return Plan(chains, steps, rate, init_std=0.3, polish=polish)
    first = Polish(4, 4, 8, min(given, sequences), restarts=0, calls=int(_SHARE * calls))
    if calls < _FEW or not steps:
        first, steps = Polish(4, 4, 8, min(given, sequences), restarts=_FOREVER), 0
    return Plan(chains, steps, rate, template_logit=6.0, polish=polish, first=first)
