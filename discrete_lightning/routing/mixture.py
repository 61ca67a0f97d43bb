"""A mixture of experts in the place of a feed-forward: each token is sent to k of N experts, and nothing is dropped."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._mask import positions_mask
from discrete_lightning.functional._precision import float32
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.routing.experts.experts import Experts
from discrete_lightning.routing.experts.mlp import ExpertMLP
from discrete_lightning.routing.experts.modules import StackedModules
from discrete_lightning.routing.functional.dispatch import combine, dispatch, sort_by_expert, with_slopes
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router
from discrete_lightning.routing.routers.by_word import router_of
from discrete_lightning.routing.routers.sampled import SampledRouter

Tokens = Literal["causal", "bidirectional", "independent"]
Level = Literal["token", "sequence"]


class MixtureOfExperts(Recorded, nn.Module):
    """y_t = sum over the experts i of token t of gate_{t,i} f_i(x_t). Only these experts run, whatever the load.

    `routing_loss(model)` is the sum of the losses of all mixtures in a model; add it to the loss.

    Args:
        expert: `ExpertMLP(dim, hidden)`; or a function without arguments that makes a module (m, d) -> (m, d); or `Experts`,
            for example `StackedMLP.from_weights` of stacked weights (N, d, h).
        count: N.
        k: experts of a token.
        router: one word ("top_k", "noisy_top_k", "switch", "bias_balanced", "sampled", "paired", "expert_choice", "remoe"), an
            estimator, which samples the experts, or a Router.
        tokens: how tokens of a row depend on one another in the model: "causal" (a language model), "bidirectional" (an encoder
            with attention), or "independent" (a table, an image as one token). Expert choice is refused in a causal model;
            `LeaveOneOut` where tokens depend on one another.
        dim: d, if it cannot be seen from `expert`.
        level: what makes a choice: each "token", or the "sequence": all tokens of a row x (S, d) go to the experts that the
            router chooses for their mean (Kudugunta et al. 2021, https://arxiv.org/abs/2110.03742). Counts, balance and load
            are then those of sequences.

    Attributes:
        router: gives `Routed`.
        experts: of stacked weights.
        loss: 0-dim float32, the router's loss in the last pass in training.
        loss_was_recorded: whether that pass recorded a graph.

    Raises:
        ValueError: if arguments do not fit, or cannot work.

    Example:
        >>> layer = MixtureOfExperts(ExpertMLP(dim=8, hidden=16), count=4, k=2, router="bias_balanced")
        >>> layer(torch.randn(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        expert: ExpertMLP | Experts | Callable[[], nn.Module],
        count: int = 16,
        k: int = 2,
        router: str | Router | Estimator = "top_k",
        tokens: Tokens = "causal",
        dim: int | None = None,
        level: Level = "token",
    ) -> None:
        super().__init__()
        check_tokens(tokens)
        if level not in get_args(Level):
            raise ValueError(f"level must be 'token' or 'sequence', got {level!r}")
        if count < 1:
            raise ValueError(f"a mixture needs count >= 1 experts, got {count}")
        experts = _experts(expert, count, dim)
        self.router = router_of(router, experts.dim, count, k)
        self.experts, self.tokens, self.level = experts, tokens, level
        self.loss: Tensor | None = None
        self.loss_was_recorded = True
        _check_router(self.router, tokens, level)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "loss": None}  # it belongs to a graph

    @property
    def dim(self) -> int:
        """D of the tokens."""
        return self.experts.dim

    @property
    def count(self) -> int:
        """N."""
        return self.experts.count

    @property
    def k(self) -> int:
        """Experts of a token; the mean, where their number varies."""
        return self.router.k

    def extra_repr(self) -> str:
        return f"tokens={self.tokens!r}" + ("" if self.level == "token" else f", level={self.level!r}")

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the experts make of each token.

        Args:
            x: (..., d), any floating dtype.
            mask: bool, shape (...) or its first dimensions; False at padding, which no expert gets and which does not count.

        Returns:
            Shape and dtype of `x`; zeros at padding.

        Raises:
            ValueError: if a shape does not fit, or (on the CPU) a token is not finite.
        """
        counted = None if mask is None else positions_mask(mask, x.shape[:-1])
        whole = self.level == "sequence"
        routed = _for_all(self.router(*_sequences(x, counted)), x) if whole else self.router(x, counted)
        if self.training:
            self.loss, self.loss_was_recorded = routed.loss, torch.is_grad_enabled()
        counted = None if counted is None else counted.reshape(-1)
        return self._run(x.reshape(-1, self.dim), routed, counted).view(x.shape)

    def _run(self, x: Tensor, routed: Routed, counted: Tensor | None) -> Tensor:
        """Runs the chosen experts on tokens (T, d)."""
        indices, gates = _flat(routed.indices), _flat(routed.gates)
        taken = None if routed.taken is None else _flat(routed.taken)
        if counted is not None:
            here = counted.unsqueeze(1).expand(indices.shape)
            taken = here if taken is None else taken & here
        if taken is not None:
            gates = torch.where(taken, gates, 0.0)
        groups = sort_by_expert(indices, self.count, taken)
        y = combine(self.experts(dispatch(x, groups), groups.ends), gates, groups)
        if routed.rivals is not None and routed.rival_gates is not None:
            rivals, rival_gates = _flat(routed.rivals), _flat(routed.rival_gates)
            there = None if counted is None else counted.unsqueeze(1).expand(rivals.shape)
            with torch.no_grad():
                others = sort_by_expert(rivals, self.count, there)
                outputs = self.experts(dispatch(x, others), others.ends)
            if there is not None:
                rival_gates = torch.where(there, rival_gates, 0.0)
            y = with_slopes(y, rival_gates, outputs, others)
        return y.to(x.dtype)

    def expectation(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """E[function(y)] over the draw of the experts, with the gradient of the router's estimator, `LeaveOneOut` included.

        Args:
            function: maps y of shape (..., *x.shape) to losses (..., B), one for each choice; `LeaveOneOut` gives samples in
                front.
            x: (B, d), one choice a row; at the level of sequences (B, S, d).

        Returns:
            Losses (B,). In eval() and for routers whose samples carry their gradient it is function(self(x)).

        Raises:
            ValueError: if `x` has other dimensions.
        """
        router = self.router
        if self.level == "sequence" and x.ndim != 3:
            raise ValueError(
                f"expectation takes one choice a sequence, x of shape (B, S, {self.dim}), got {tuple(x.shape)}"
            )
        if self.level == "token" and x.ndim != 2:
            raise ValueError(
                f"expectation takes one choice a row, x of shape (B, {self.dim}), got {tuple(x.shape)}: behind attention a "
                "token's choice changes other tokens' losses, and the losses of single tokens are not its own"
            )
        if not self.training or not isinstance(router, SampledRouter) or router.estimator.pathwise:
            return function(self(x))
        tokens = x if self.level == "token" else _sequences(x, None)[0]
        generator = rank_generator(x.device)

        def of_sample(sample: Tensor) -> Tensor:
            many = x.expand(*sample.shape[:-2], *x.shape)
            routed = router(tokens.expand(*sample.shape[:-1], self.dim), None, sample)
            self.loss, self.loss_was_recorded = routed.loss, torch.is_grad_enabled()
            routed = _for_all(routed, many) if self.level == "sequence" else routed
            return function(self._run(many.reshape(-1, self.dim), routed, None).view(many.shape))

        logits = router.drawn_from(router.scores(tokens))
        k = None if self.k == 1 else self.k
        return router.estimator.expectation(of_sample, logits, router.choice.temperature(), generator, k=k)


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _sequences(x: Tensor, counted: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The mean token (..., d) of each sequence (..., S, d), float32, and which sequences have a token, bool (...)."""
    if x.ndim < 2:
        raise ValueError(f"level='sequence' takes sequences (..., S, d), got {tuple(x.shape)}")
    wide = float32(x)
    if counted is None:
        return wide.sum(-2) / max(x.shape[-2], 1), None
    number = counted.sum(-1, keepdim=True).clamp_min(1)
    return torch.where(counted.unsqueeze(-1), wide, 0.0).sum(-2) / number, counted.any(-1)


def _for_all(routed: Routed, x: Tensor) -> Routed:
    """The choices of sequences (...), for all tokens (..., S) of `x`."""

    def each(entry: Tensor | None) -> Any:
        return None if entry is None else entry.unsqueeze(-2).expand(*x.shape[:-1], entry.shape[-1])

    names = ("indices", "gates", "logits", "probabilities", "taken", "rivals", "rival_gates")
    return routed._replace(**{name: each(getattr(routed, name)) for name in names})


def _experts(expert: ExpertMLP | Experts | Callable[[], nn.Module], count: int, dim: int | None) -> Experts:
    if isinstance(expert, ExpertMLP):
        expert = expert.stacked(count)
    if isinstance(expert, Experts):
        if expert.count != count or dim not in (None, expert.dim):
            raise ValueError(
                f"asked for count={count}{'' if dim is None else f', dim={dim}'}, and the experts are count={expert.count}, "
                f"dim={expert.dim}"
            )
        return expert
    if isinstance(expert, nn.Module):
        raise ValueError(
            f"expert is a {type(expert).__name__}, one module, and {count} are needed: give a function that makes one, such as "
            "`lambda: ...`; to go on from a trained module call upcycle(module, count)"
        )
    modules = [expert() for _ in range(count)]
    return StackedModules(modules, dim_of(modules[0]) if dim is None else dim)


def check_tokens(tokens: str) -> None:
    """Raises ValueError unless `tokens` is one of `Tokens`."""
    if tokens not in get_args(Tokens):
        raise ValueError(f"tokens must be 'causal', 'bidirectional' or 'independent', got {tokens!r}")


def dim_of(module: nn.Module) -> int:
    """D of the tokens that a module takes: the inputs of its first nn.Linear."""
    for each in module.modules():
        if isinstance(each, nn.Linear):
            return each.in_features
    raise ValueError(f"the size of the tokens cannot be seen from a {type(module).__name__}: give dim")


def _check_router(router: Router, tokens: str, level: str) -> None:
    if level == "sequence" and tokens == "causal":
        raise ValueError(
            "level='sequence' chooses experts from all tokens of a row, and this model is causal: take level='token'; if it is "
            "not causal, say tokens='bidirectional' or tokens='independent'"
        )
    if level == "sequence" and router.sees_other_tokens:
        raise ValueError(
            f"{type(router).__name__} with level='sequence' would let a row's experts depend on other rows of the batch: take "
            "another router, or level='token'"
        )
    if router.sees_other_tokens and tokens == "causal":
        raise ValueError(
            f"{type(router).__name__} lets a token's experts depend on later tokens, and this model is causal: take another "
            "router; if it is not causal, say tokens='bidirectional'"
        )
    if (
        isinstance(router, SampledRouter)
        and not router.estimator.pathwise
        and tokens != "independent"
        and level == "token"
    ):
        raise ValueError(
            f"{router.estimator} needs a loss for each choice, and behind attention a token's choice changes the losses of "
            "other tokens: take router='paired' or another estimator; where each row is one token, say tokens='independent', "
            "or let the row choose, level='sequence', and call `expectation`"
        )
