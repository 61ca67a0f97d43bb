"""What every router returns."""

from typing import NamedTuple

from torch import Tensor


class Routed(NamedTuple):
    """The experts of each token, and what they count for: y = sum_j gates_j f_{indices_j}(x).

    Attributes:
        indices: int64 (..., k), the experts of each token. Where their number varies, all N, and `taken` says which count.
        gates: float32 (..., k), their weights, with the router's gradient.
        logits: float32 (..., N).
        probabilities: float32 (..., N), each row summing to 1.
        loss: 0-dim float32, the balance and z-loss with their weights; 0 in eval().
        taken: bool (..., k), or None: all.
        rivals: int64 (..., r), experts that run without a graph, since the gradient needs to know what they would have made.
        rival_gates: float32 (..., r), zeros with a gradient.
    """

    indices: Tensor
    gates: Tensor
    logits: Tensor
    probabilities: Tensor
    loss: Tensor
    taken: Tensor | None = None
    rivals: Tensor | None = None
    rival_gates: Tensor | None = None
