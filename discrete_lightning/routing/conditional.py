"""Mixture of depths: a token passes a block or not (Raposo et al. 2024, https://arxiv.org/abs/2404.02258), causal throughout.

    y_t = x_t + gate_t (block(x)_t - x_t) where gate t is open, the block seeing open tokens alone;   else y_t = x_t

The paper takes the best tokens of a row, which depends on later tokens, and needs a predictor to be deployed. Here each token's
gate depends on that token alone, in training and in eval(); its share is held by `TokenGate`.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._checks import host_number, values_can_be_read
from discrete_lightning.functional._mask import positions_mask
from discrete_lightning.functional.keyed_noise import picked_rows
from discrete_lightning.layers.reaching import reaching
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.routing.mixture import MixtureOfExperts, Tokens, check_tokens, dim_of
from discrete_lightning.routing.token_gate import Gated, TokenGate


class Conditional(Recorded, nn.Module):
    """A block that a share of the tokens passes; the others stay as they are.

    Open tokens of a row are packed in their order, and the block runs on them alone: on the CPU on as many as there are. On an
    accelerator, and compiled, their number would have to be read; there the block runs on whole rows, and nothing is saved.

    A packed token keeps its place in the row: a block whose `forward` has an argument `positions` (for rotary embeddings, say)
    gets it, int64 (B, S), unless tokens="independent". Without it such a block would take the last open token for the one
    before.

    Args:
        block: maps (B, S, d) to (B, S, d), with its own residual connection if it has one.
        share: of tokens that pass, in (0, 1), met in the mean in training and in eval().
        estimator: "threshold", which draws nothing and weighs by the gate; "ratio"; or an estimator: see `TokenGate`. With one
            whose samples are 0 and 1 the block also runs on all tokens without a graph, for what closed tokens would have got;
            with one that mixes it runs on all with a graph.
        tokens: "causal" (the block lets tokens see earlier ones), "bidirectional" (it lets them see all: it is called with
            `mask`, bool (B, S), False at the end of rows with fewer open tokens), or "independent" (a feed-forward: the tokens
            of all rows are packed into one).
        dim: d, if it cannot be seen from `block`.

    Attributes:
        gate: a TokenGate.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> layer = Conditional(nn.Linear(4, 4), share=0.5, tokens="independent")
        >>> x = torch.randn(2, 6, 4)
        >>> layer(x).shape
        torch.Size([2, 6, 4])
    """

    def __init__(
        self,
        block: nn.Module,
        share: float = 0.5,
        estimator: Estimator | str = "threshold",
        tokens: Tokens = "causal",
        dim: int | None = None,
    ) -> None:
        super().__init__()
        check_tokens(tokens)
        self.block, self.tokens = block, tokens
        whole = getattr(block, "_orig_mod", block)  # torch.compile hides the arguments of what it wraps
        self._takes_positions = "positions" in inspect.signature(whole.forward).parameters
        self.gate = TokenGate(dim_of(block) if dim is None else dim, share, estimator)

    def extra_repr(self) -> str:
        return f"tokens={self.tokens!r}"

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The block's output at open tokens, weighed by their gates; `x` at the others. An estimator that mixes weighs all.

        Args:
            x: (B, S, d), any floating dtype.
            mask: bool (B, S) or (B, 1), False at padding, which does not pass and does not count.

        Raises:
            ValueError: if a shape does not fit, or the block changes it.
        """
        if x.ndim != 3 or x.shape[-1] != self.gate.dim:
            raise ValueError(f"Conditional takes x of shape (B, S, {self.gate.dim}), got {tuple(x.shape)}")
        gated = self.gate(x, mask)
        real = torch.ones_like(gated.open) if mask is None else positions_mask(mask, x.shape[:-1])
        rows, real = (x, real) if self.tokens != "independent" else (x.reshape(1, -1, x.shape[-1]), real.reshape(1, -1))
        gated = Gated(*(each.reshape(real.shape) for each in gated))
        estimator = self.gate.estimator if self.training else "eval"
        if isinstance(estimator, str):
            return self._packed(rows, gated.open, gated.gates).view(x.shape)
        if not estimator.hard:
            out = self._packed(rows, real)
            y = rows + gated.gates.unsqueeze(-1).to(x.dtype) * (out - rows)
            return torch.where(real.unsqueeze(-1), y, rows).view(x.shape)
        out = self._packed(rows, gated.open)
        inside = [each for each in self.block.modules() if isinstance(each, MixtureOfExperts)]
        losses = [(each.loss, each.loss_was_recorded) for each in inside]
        with torch.no_grad():  # what closed tokens would have got
            would = torch.where(gated.open.unsqueeze(-1), out, self._packed(rows, real))
        for each, (loss, recorded) in zip(inside, losses, strict=True):  # those of the pass with a graph
            each.loss, each.loss_was_recorded = loss, recorded
        slope = (gated.gates - gated.gates.detach()).unsqueeze(-1).to(x.dtype)  # 0, with a gradient
        return (out + (would - rows).detach() * slope).view(x.shape)

    def _packed(self, x: Tensor, chosen: Tensor, gates: Tensor | None = None) -> Tensor:
        """The block on the chosen tokens (B, S) of rows (B, S, d), packed to the front; `x` at the others.

        Args:
            x: (B, S, d).
            chosen: bool (B, S).
            gates: (B, S), of x + gate (block(x) - x) where chosen; 1 by default, and then it is block(x) to the bit.
        """
        rows, length, dim = x.shape
        order = (~chosen).to(torch.uint8).argsort(dim=1, stable=True)
        number = chosen.sum(1)
        width = length
        if rows and length and values_can_be_read(number):
            # at least one, closed or not: the block and the gates are used in each pass and on each rank
            width = max(1, int(host_number(number.max())))
        if not (rows and length):
            return reaching(x, [*self.block.parameters(), *([] if gates is None else [gates])])
        start = torch.arange(rows, device=x.device).unsqueeze(1)
        source = (order[:, :width] + start * length).flatten()
        packed = x.reshape(-1, dim).index_select(0, source).view(rows, width, dim)
        valid = torch.arange(width, device=x.device) < number.unsqueeze(1)
        known = {"mask": valid} if self.tokens == "bidirectional" else {}
        if self._takes_positions and self.tokens != "independent":
            known["positions"] = order[:, :width]
        if self.tokens == "independent":
            with picked_rows(source, x.shape[:-1].numel()):
                out = self.block(packed, **known)
        else:
            out = self.block(packed, **known)
        if out.shape != packed.shape:
            raise ValueError(
                f"a conditional block keeps the shape of its tokens: given {tuple(packed.shape)}, it made {tuple(out.shape)}"
            )
        place = (order.argsort(dim=1).clamp_max(width - 1) + start * width).flatten()
        weights = torch.ones_like(chosen, dtype=torch.float32) if gates is None else gates
        merged = _Merge.apply(
            x.reshape(-1, dim),
            out.reshape(-1, dim).to(x.dtype),
            weights.flatten(),
            source,
            place,
            chosen.flatten(),
            valid.flatten(),
        )
        return merged.view(x.shape)


class _Merge(torch.autograd.Function):
    """Packed rows back in their places. In backward all is a gather, which is deterministic on every device."""

    @staticmethod
    def forward(
        x: Tensor, out: Tensor, gates: Tensor, source: Tensor, place: Tensor, chosen: Tensor, valid: Tensor
    ) -> Tensor:
        wide = torch.promote_types(x.dtype, gates.dtype)
        rows, weights = x.index_select(0, source).to(wide), gates.to(wide).index_select(0, source).unsqueeze(-1)
        passed = torch.lerp(rows, out.to(wide), weights).to(x.dtype)
        return torch.where(chosen.unsqueeze(-1), passed.index_select(0, place), x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, out, gates, source, place, chosen, valid = ctx.saved_tensors
        g = grad_outputs[0]
        to_x = to_out = to_gates = None
        if ctx.needs_input_grad[0]:
            to_x = (torch.where(chosen, 1 - gates, 1.0).unsqueeze(-1) * g).to(x.dtype)
        rows = g.index_select(0, source)
        if ctx.needs_input_grad[1]:
            weights = torch.where(valid, gates.index_select(0, source), 0.0)
            to_out = (weights.unsqueeze(-1) * rows).to(out.dtype)
        if ctx.needs_input_grad[2]:
            slope = ((out - x.index_select(0, source)).float() * rows.float()).sum(-1)
            to_gates = torch.where(chosen, slope.index_select(0, place), 0.0).to(gates.dtype)
        return to_x, to_out, to_gates, None, None, None, None
