"""The base of all routers: logits in float32, a choice of experts, losses for an even load, counts of all ranks."""

from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from discrete_lightning.functional._checks import check_rows
from discrete_lightning.functional._mask import positions_mask, zero_padding
from discrete_lightning.functional._precision import float32, float32_matmul
from discrete_lightning.layers.entropy_bonus import is_zero
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.layers.usage import count_indices
from discrete_lightning.routing.counted_layer import CountedLayer
from discrete_lightning.routing.functional.balance_loss import balance_loss
from discrete_lightning.routing.functional.z_loss import z_loss
from discrete_lightning.routing.routed import Routed

_INIT = 0.02  # of zeros all tokens would go to the first experts; devices break ties differently


class Router(Recorded, CountedLayer):
    """Chooses k of N experts for each token.

    A linear map gives logits l = W x, in float32 under every precision: a bfloat16 product would change the experts of some
    tokens. `eval()` is deterministic, and a token's experts do not depend on other rows.

    With a weight for a loss, each pass in training sums over ranks: all ranks make equally many passes, also one without a
    token.

    A subclass defines `route`; its choices are counted in training, and after each step of the optimiser `_apply_counts` gets
    those of all ranks. Choices of an `expectation` are not counted: its loss for an even load is that of one pass.

    Args:
        dim: d of the tokens.
        count: N >= 1 experts.
        k: experts of a token, 1 <= k <= N.
        balance: weight of Switch's loss for an even load (`balance_loss`), >= 0; moved by `WeightAnnealing(only="*balance")`.
        z: weight of the z-loss (`z_loss`), >= 0.

    Attributes:
        weight: (N, d), float32.
        gates_sum_to_one: whether the gates of each token do; needed to go on from a dense model.
        sees_other_tokens: whether a token's experts depend on other tokens, which a causal model cannot have.

    Raises:
        ValueError: if an argument is out of range.
    """

    weight: nn.Parameter
    gates_sum_to_one: bool = True
    sees_other_tokens: ClassVar[bool] = False
    updated_state: ClassVar[str] = "balance is"

    def __init__(self, dim: int, count: int, k: int = 2, *, balance: float = 0.0, z: float = 0.0) -> None:
        super().__init__()
        if dim < 1 or count < 1:
            raise ValueError(f"{type(self).__name__} needs dim >= 1 and count >= 1, got dim={dim}, count={count}")
        if not 1 <= k <= count:
            raise ValueError(f"{type(self).__name__} chooses k of count={count} experts, 1 <= k <= {count}, got k={k}")
        self.dim, self.count, self.k = dim, count, k
        self.weight = nn.Parameter(torch.empty(count, dim, dtype=torch.float32))
        self.balance = LossWeight(balance) if balance else None
        self.z = LossWeight(z) if z else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Starts with small noise."""
        self.weight.normal_(0, _INIT)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, count={self.count}, k={self.k}"

    @property
    def has_loss(self) -> bool:
        """Whether `Routed.loss` can be other than 0."""
        return self.balance is not None or self.z is not None

    @property
    def is_updated(self) -> bool:
        return self.balance is not None

    def forward(self, x: Tensor, mask: Tensor | None = None, sample: Tensor | None = None) -> Routed:
        """The experts of each token.

        Args:
            x: (..., d), any floating dtype.
            mask: bool, shape (...) or its first dimensions; False at padding, which does not count. What the result holds there
                has no meaning.
            sample: (..., N), k ones for each token: experts that an estimator has drawn before, with gates of 1/k; None: the
                router chooses.

        Raises:
            ValueError: if a shape does not fit, or (on the CPU) a token is not finite.
        """
        if not x.ndim or x.shape[-1] != self.dim:
            raise ValueError(
                f"{type(self).__name__}(dim={self.dim}) takes tokens (..., {self.dim}), got {tuple(x.shape)}"
            )
        counted = None if mask is None else positions_mask(mask, x.shape[:-1])
        tokens = x if counted is None else zero_padding(x, counted)
        logits = self.scores(tokens)
        routed = self.route(logits, counted) if sample is None else self._of(sample, logits)
        check_rows(routed.probabilities, routed.logits, -1)
        if not self.training:
            return routed
        chosen = self._chosen(routed, counted)
        routed = routed._replace(loss=self.auxiliary_loss(routed, chosen, counted))
        if self.is_learning:
            routed = routed._replace(gates=self.counting(routed.gates, self._counts(routed, chosen, counted)))
        return routed

    @float32_matmul
    def scores(self, x: Tensor) -> Tensor:
        """Logits (..., N) of tokens (..., d), in float32 outside of autocast."""
        return linear_float32(x, self.weight)

    def route(self, logits: Tensor, mask: Tensor | None) -> Routed:
        """The choice. Its `loss` is replaced.

        Args:
            logits: (..., N), float32.
            mask: bool (...), False at padding; None: there is none.
        """
        raise NotImplementedError

    def _of(self, sample: Tensor, logits: Tensor) -> Routed:
        indices = sample.topk(self.k, -1).indices
        gates = torch.full(indices.shape, 1 / self.k, device=logits.device)
        return Routed(indices, gates, logits, torch.softmax(logits, -1), no_loss(logits))

    def _chosen(self, routed: Routed, mask: Tensor | None) -> Tensor | None:
        """Which entries of `indices` count: bool (..., k), or None for all."""
        if mask is None:
            return routed.taken
        here = mask.unsqueeze(-1).expand(routed.indices.shape)
        return here if routed.taken is None else routed.taken & here

    def _counts(self, routed: Routed, chosen: Tensor | None, mask: Tensor | None) -> Tensor:
        """What a pass counts, (`_number_of_counts`,): how many tokens each expert has got."""
        return count_indices(routed.indices, self.count, chosen)

    def auxiliary_loss(self, routed: Routed, chosen: Tensor | None, mask: Tensor | None) -> Tensor:
        """The loss that a pass adds, 0-dim float32.

        Args:
            routed: of the pass.
            chosen: bool, of the shape of `routed.indices`, which of them count; None for all.
            mask: bool, of the shape of the tokens, False at padding; None: there is none.
        """
        loss = no_loss(routed.logits)
        if self.balance is not None and not is_zero(self.balance()):
            earlier = self.pending_counts()
            earlier = None if earlier is None else earlier[: self.count]
            term = balance_loss(routed.probabilities, routed.indices, chosen, earlier)
            loss = loss + self.balance() * term
        if self.z is not None and not is_zero(self.z()):
            loss = loss + self.z() * z_loss(routed.logits, mask)
        return loss

    def _number_of_counts(self) -> int:
        return self.count

    def _apply_counts(self, counts: Tensor) -> None:
        """Nothing: the counts only joined the loss of later passes."""


def linear_float32(x: Tensor, weight: Tensor) -> Tensor:
    """X W^T in float32 (float64 of float64 tokens), outside of autocast, in compiled graphs, too."""
    kind, wide = x.device.type, float32(x)
    plain = torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
    with plain:
        return torch.nn.functional.linear(wide, weight.to(wide.dtype))


def no_loss(logits: Tensor) -> Tensor:
    """0, float32."""
    return torch.zeros((), dtype=torch.float32, device=logits.device)


def check_gates_vary(router: Any, normalise: bool) -> None:
    """Raises ValueError if the only gate would be the constant 1."""
    if router.k == 1 and normalise:
        raise ValueError(
            f"{type(router).__name__} with k=1 and gates that sum to 1: the gate is the constant 1, and the router gets no "
            "gradient from the task. Take router='switch' (the gate is the probability), normalise=False, or an estimator: "
            "router='paired', or router='sampled'"
        )
