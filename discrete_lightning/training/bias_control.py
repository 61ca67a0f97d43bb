"""Which temperature a relaxation should have, from measurements of its bias: what AdaptiveTemperature steers by."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

_FASTEST = 2.0  # times the speed of an exponential schedule over the run
_AVERAGED = 0.5  # weight of a new measurement of the bias


@dataclass
class _State:
    tau: float
    share: float = 0.0  # of the run, at the last measurement
    bias: float = 0.0  # sum of measured biases with falling weights
    weight: float = 0.0  # sum of these weights
    largest: float = 0.0
    noise: float = 0.0


@dataclass
class BiasControl:
    """Lowers tau where the relaxation's bias is larger than is allowed at this point of the run, else raises it.

        bias     moving average of: discrete loss - relaxed loss, same examples, same noise (each new one weighs half)
        allowed  (1 - share)^3 * largest + noise
        tau      <- clip(tau * clip(allowed / |bias|, 1 / f, f), minimum, maximum)
        f        (maximum / minimum)^(2 * d share)

    `share` of the run is over, `d share` of it since the last measurement; `largest` is the largest |bias| so far, and
    `noise` the standard error of the mean training loss since then: a smaller bias cannot be seen in the loss. tau
    never moves more than twice as fast as `Exponential` from `maximum` to `minimum` over the run. Whenever tau
    moves, the average is multiplied by the same factor: bias is taken to be proportional to tau between measurements.

    Args:
        minimum, maximum: of tau; it starts at `maximum`.

    Raises:
        ValueError: unless 0 < minimum < maximum.

    Example:
        >>> control = BiasControl(0.1, 2.0)
        >>> for share, bias in [(0.2, 1.0), (0.4, 1.0), (0.6, 1.0)]:
        ...     tau = control.update(share, bias, noise=0.1)
        >>> round(tau, 3)
        0.134
    """

    minimum: float
    maximum: float
    state: _State = field(init=False)

    def __post_init__(self) -> None:
        if not 0 < self.minimum < self.maximum < math.inf:
            raise ValueError(f"it takes 0 < minimum < maximum, got minimum={self.minimum}, maximum={self.maximum}")
        self.reset()

    def reset(self) -> None:
        """The state of a run that has not begun."""
        self.state = _State(self.maximum)

    @property
    def tau(self) -> float:
        """The temperature, in [minimum, maximum]."""
        return self.state.tau

    @property
    def bias(self) -> float:
        """The moving average; 0 before the first measurement."""
        return self.state.bias / self.state.weight if self.state.weight else 0.0

    def update(self, share: float, bias: float, noise: float) -> float:
        """Takes a measurement, and returns the new tau.

        Args:
            share: of the run that is over, in [0, 1].
            bias: discrete loss - relaxed loss. If it is not finite, nothing changes.
            noise: standard error of the mean training loss, >= 0.
        """
        now = self.state
        if not math.isfinite(bias):
            return now.tau
        now.bias = (1 - _AVERAGED) * now.bias + _AVERAGED * bias
        now.weight = (1 - _AVERAGED) * now.weight + _AVERAGED
        size = abs(self.bias)
        now.largest, now.noise = max(now.largest, size), noise
        allowed = (1 - share) ** 3 * now.largest + noise
        most = _FASTEST * max(0.0, share - now.share) * math.log(self.maximum / self.minimum)
        tiny = 1e-12 * now.largest + 1e-30
        step = math.log((allowed + tiny) / (size + tiny))
        moved = now.tau * math.exp(max(-most, min(most, step)))
        before, now.tau, now.share = now.tau, max(self.minimum, min(self.maximum, moved)), share
        now.bias *= now.tau / before
        return now.tau

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self.state = _State(**state)
