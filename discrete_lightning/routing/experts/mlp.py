"""Feed-forward experts with stacked weights, run by grouped products."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.routing.experts.experts import Experts
from discrete_lightning.routing.functional.grouped_matmul import grouped_matmul

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": torch.nn.functional.gelu,
    "relu": torch.relu,
    "silu": torch.nn.functional.silu,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}


@dataclass(frozen=True)
class ExpertMLP:
    """The form of a feed-forward expert: f(x) = act(x W_in + b_in) W_out + b_out; `MixtureOfExperts` stacks N of them.

    Args:
        dim: d.
        hidden: h, of one expert. k experts of h/k cost what a dense layer of h costs.
        activation: "gelu", "relu", "silu", "tanh" or "identity".
        gated: act(x W_gate) * (x W_in) instead of act(x W_in): with "silu" SwiGLU (Shazeer 2020, arXiv 2002.05202).
        bias: whether there are b_in and b_out.

    Raises:
        ValueError: if a size is less than 1, or the activation unknown.

    Example:
        >>> ExpertMLP(dim=8, hidden=16).stacked(count=4).w_in.shape
        torch.Size([4, 8, 16])
    """

    dim: int
    hidden: int
    activation: str = "gelu"
    gated: bool = False
    bias: bool = False

    def __post_init__(self) -> None:
        if self.dim < 1 or self.hidden < 1:
            raise ValueError(f"ExpertMLP needs dim >= 1 and hidden >= 1, got dim={self.dim}, hidden={self.hidden}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"ExpertMLP: activation must be one of {', '.join(ACTIVATIONS)}; got {self.activation!r}")

    def stacked(self, count: int) -> "StackedMLP":
        """`count` experts of this form."""
        return StackedMLP(self, count)


class StackedMLP(Recorded, Experts):
    """N experts of one form, weights stacked: (N, d, h) and (N, h, d).

    Args:
        form: of each expert.
        count: N >= 1.

    Attributes:
        w_in: (N, d, h); of a gated form (N, d, 2 h), the gate first.
        w_out: (N, h, d).
        b_in: (N, h) or (N, 2 h), or None.
        b_out: (N, d), or None.

    Example:
        >>> experts = StackedMLP(ExpertMLP(dim=8, hidden=16), count=2)
        >>> experts(torch.randn(5, 8), torch.tensor([3, 5], dtype=torch.int32)).shape
        torch.Size([5, 8])
    """

    def __init__(self, form: ExpertMLP, count: int) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"StackedMLP needs count >= 1, got {count}")
        self.form, self.count, self.dim = form, count, form.dim
        width = form.hidden * (2 if form.gated else 1)
        self.w_in = nn.Parameter(torch.empty(count, form.dim, width))
        self.w_out = nn.Parameter(torch.empty(count, form.hidden, form.dim))
        self.b_in = nn.Parameter(torch.empty(count, width)) if form.bias else None
        self.b_out = nn.Parameter(torch.empty(count, form.dim)) if form.bias else None
        self.reset_parameters()

    @classmethod
    def from_weights(cls, w_in: Tensor, w_out: Tensor, activation: str = "gelu") -> Self:
        """Experts of given weights, without biases.

        Args:
            w_in: (N, d, h).
            w_out: (N, h, d).
            activation: between them.

        Raises:
            ValueError: if the shapes do not fit.

        Example:
            >>> StackedMLP.from_weights(torch.zeros(2, 8, 16), torch.zeros(2, 16, 8)).form.hidden
            16
        """
        if w_in.ndim != 3 or w_out.shape != (w_in.shape[0], w_in.shape[2], w_in.shape[1]):
            raise ValueError(
                f"stacked weights are (N, d, h) and (N, h, d), got {tuple(w_in.shape)} and {tuple(w_out.shape)}"
            )
        count, dim, hidden = w_in.shape
        experts = cls(ExpertMLP(dim, hidden, activation), count).to(w_in)
        with torch.no_grad():
            experts.w_in.copy_(w_in)
            experts.w_out.copy_(w_out)
        return experts

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As nn.Linear does: uniform within 1/sqrt(inputs)."""
        for weight, bias, inputs in (
            (self.w_in, self.b_in, self.form.dim),
            (self.w_out, self.b_out, self.form.hidden),
        ):
            for each in (weight, bias):
                if each is not None:
                    each.uniform_(-1 / math.sqrt(inputs), 1 / math.sqrt(inputs))

    def extra_repr(self) -> str:
        return f"count={self.count}, {self.form}"

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        hidden = _plus(grouped_matmul(rows, self.w_in, ends), self.b_in, ends)
        act = ACTIVATIONS[self.form.activation]
        if self.form.gated:
            gate, value = hidden.chunk(2, -1)
            hidden = act(gate) * value
        else:
            hidden = act(hidden)
        return _plus(grouped_matmul(hidden, self.w_out, ends), self.b_out, ends)


def _plus(rows: Tensor, bias: Tensor | None, ends: Tensor) -> Tensor:
    """Adds to each row the bias of its group; none behind the last end."""
    if bias is None:
        return rows
    number = torch.arange(len(rows), device=rows.device)
    group = torch.searchsorted(ends, number.to(ends.dtype), right=True)
    inside = (group < len(ends)).unsqueeze(1)
    return rows + torch.where(inside, bias[group.clamp_max(len(ends) - 1)], 0.0).to(rows.dtype)
