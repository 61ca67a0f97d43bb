"""The base of the layers of gates: what is multiplied, and what is deployed.

In training a gate is a draw; in eval() it is 0 or 1. The published gates of hard concrete and STG lie in between at test time,
so that "expected open gates", "gates that are not 0" and "gates above 1/2" are three numbers. Here there is one decision.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Self, get_args

import torch
from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.functional._keyed import of_batch
from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.private_state import PrivateState
from discrete_lightning.layers.reaching import reaching
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.selection.ties import Tie, tie

Per = Literal["row", "batch"]


class GateLayer(Recorded, PrivateState, Float32State):
    """Multiplies the entries of one dimension by gates. Base of Gate, HardConcrete, StochasticGate and SelectK.

    Training: x * z with a draw z, for each row (the first dimension of x) or for the whole batch. Evaluation: open
    entries stay as they are, the others are 0. Which are open is `decision`, once `decide` was called (by `Budget` or by
    `SelectionLayer`s' user); before, the gates whose score is positive.

    Args:
        size: number of gates, D >= 1.
        dim: the dimension of x that is gated: -1 for features and hidden units, 1 for channels of images.
        per: "row": a draw for each row, which has less variance; "batch": one for all, the published form for weights.
        width: entries of x for each gate, one after the other: the size of a head for gates of heads.

    Attributes:
        decision: int8 (D,), 1 open, 0 closed, -1 not decided.
        held: whether the decision holds in training, too; then nothing is drawn.
        least: number of gates that a budget leaves open at least; 0 where all of them may go (a residual branch).
        tie: the layers that lose entries with closed gates, or None.

    Raises:
        ValueError: if an argument is out of range.
    """

    decision: Tensor
    held: bool
    least: int = 1
    span: ClassVar[float] = 3.0  # about the range in which the parameters move: learning rates go by it
    tie: Tie | None = None

    def __init__(self, size: int, dim: int = -1, per: Per = "row", width: int = 1) -> None:
        super().__init__()
        check_at_least(1, size=size, width=width)
        check_per(per)
        self.size, self.dim, self.per, self.width = size, dim, per, width
        self.register_private("decision", torch.full((size,), -1, dtype=torch.int8, device=real_device()))
        self.register_number("held", False)

    def extra_repr(self) -> str:
        return f"size={self.size}, dim={self.dim}, per={self.per!r}"

    def reset_parameters(self) -> None:
        """Draws the first values of the parameters."""
        raise NotImplementedError

    def sample(self, rows: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Draws of training, float32 (*rows, D), with their gradient."""
        raise NotImplementedError

    def open_probability(self) -> Tensor:
        """P(gate != 0) in training, float32 (D,), with a gradient: its sum is the expected number of open gates."""
        raise NotImplementedError

    def scores(self) -> Tensor:
        """What orders the gates, float32 (D,), without a gradient: positive where a gate is open before it is decided."""
        raise NotImplementedError

    def open(self) -> Tensor:
        """Which gates are open in eval(), bool (D,)."""
        return torch.where(self.decision >= 0, self.decision > 0, self.scores() > 0)

    @torch.no_grad()
    def decide(self, open: Tensor | None = None, hold: bool = False) -> None:
        """Fixes which gates are open in eval().

        Args:
            open: bool (D,); None takes those whose score is positive.
            hold: whether training uses the decision, too.

        Raises:
            ValueError: if the shape or the dtype does not fit.
        """
        chosen = self.scores() > 0 if open is None else open
        if chosen.shape != (self.size,) or chosen.dtype != torch.bool:
            raise ValueError(f"decide takes bool ({self.size},), got {chosen.dtype} {tuple(chosen.shape)}")
        self.decision.copy_(chosen)
        self.held = hold

    def between(self, producer: nn.Module, norms: Sequence[nn.Module], *consumers: nn.Module) -> Self:
        """Ties the gates to the layers around them, for `derive` and `NetworkCost`: see `tie`.

        Returns:
            the gates.

        Raises:
            TieError: if a layer cannot lose entries, or its size does not fit.
        """
        return tie(self, [producer], norms, consumers)

    def undecide(self) -> None:
        """Forgets the decision: gates are drawn in training, and in eval() those of a positive score are open."""
        self.decision.fill_(-1)
        self.held = False

    def gates(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The gates for x: float32, of a shape that broadcasts against x.

        Raises:
            ValueError: if x has another size.
        """
        self._check(x)
        if not self.training:
            return self._placed(self.open().float(), x)
        if self.held:
            return self._placed(reaching(self.open().float(), list(self.parameters())), x)
        rows = self._rows(x)
        return self._placed(self.sample(rows, generator if rows else of_batch(generator)), x)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Gates times x, of the shape and dtype of `x`.

        Args:
            x: floating, D * width entries in dimension `dim`.
            generator: source of randomness; by default the default generator, mixed with the rank where there are several.

        Raises:
            ValueError: if x has another size.
        """
        return x * self.gates(x, generator).to(x.dtype)

    @torch.no_grad()
    def draw(self, x: Tensor) -> Tensor:
        """As `forward`, without a gradient, and so for every estimator."""
        return self(x)

    def bound_(self) -> None:
        """Keeps the parameters where a gate that is closed can open again; called before each gradient of a budget."""

    def expectation(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """E[function(x * gates)] with the gradient of the gates: for estimators that need the loss's value, too.

        Args:
            function: gated inputs (..., B, *) to losses (..., B).
            x: (B, *), the gated dimension among the latter.

        Returns:
            losses (B,).
        """
        return function(self(x))

    def _check(self, x: Tensor) -> None:
        if not x.ndim or not -x.ndim <= self.dim < x.ndim or x.shape[self.dim] != self.size * self.width:
            raise ValueError(
                f"{type(self).__name__} gates {self.size * self.width} entries in dimension {self.dim}, and x has shape "
                f"{tuple(x.shape)}: change size, width or dim"
            )
        if self.per == "row" and x.ndim > 1 and self.dim % x.ndim == 0:
            raise ValueError(
                f"{type(self).__name__} gates dimension 0, which holds the rows that have a draw each: per='batch'"
            )

    def _rows(self, x: Tensor) -> tuple[int, ...]:
        """The leading dimensions of the draws for x: one for each row, or none."""
        return (x.shape[0],) if self.per == "row" and x.ndim > 1 else ()

    def _placed(self, z: Tensor, x: Tensor) -> Tensor:
        """Gates (..., D) for all rows of x, or (..., B, D), in the places of x's dimensions."""
        if self.width > 1:
            z = z.repeat_interleave(self.width, -1)
        place = self.dim % x.ndim
        after = [1] * (x.ndim - 1 - place)
        if z.ndim == 1:
            return z.reshape(-1, *after)
        return z.reshape(*z.shape[:-1], *[1] * (place - 1), z.shape[-1], *after)


def check_per(per: str) -> None:
    """Raises ValueError unless `per` is one of `Per`."""
    if per not in get_args(Per):
        raise ValueError(f"per must be 'row' or 'batch', got {per!r}")
