"""What stands in the place of a transformer's feed-forward layers: dataclasses that make a module for tokens of d numbers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.routing.experts.mlp import ExpertMLP
from discrete_lightning.routing.mixture import Level, MixtureOfExperts, Tokens
from discrete_lightning.routing.routers.by_word import router_of


class FeedForward(ABC):
    """Makes a module (..., d) -> (..., d) for each layer. A subclass is a frozen dataclass, so that a config can name it."""

    @abstractmethod
    def __call__(self, dim: int) -> nn.Module:
        """A new module for tokens of `dim` numbers."""


@dataclass(frozen=True)
class DenseFeedForward(FeedForward):
    """Linear, GELU, Linear, without biases.

    Args:
        hidden: numbers between the two, 1 or more.

    Example:
        >>> DenseFeedForward(hidden=32)(8)
        Sequential(
          (0): Linear(in_features=8, out_features=32, bias=False)
          (1): GELU(approximate='none')
          (2): Linear(in_features=32, out_features=8, bias=False)
        )
    """

    hidden: int = 512

    def __post_init__(self) -> None:
        check_at_least(1, hidden=self.hidden)

    def __call__(self, dim: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(dim, self.hidden, bias=False), nn.GELU(), nn.Linear(self.hidden, dim, bias=False)
        )


@dataclass(frozen=True)
class MixtureFeedForward(FeedForward):
    """A `MixtureOfExperts` of MLPs without biases.

    Args:
        count: N experts.
        k: experts of a token.
        hidden: of one expert.
        router: one word or an estimator, see `MixtureOfExperts`.
        tokens: how tokens depend on one another, see `MixtureOfExperts`.
        activation: of the experts, see `ExpertMLP`.
        level: what makes a choice, a token or a sequence, see `MixtureOfExperts`.
        options: arguments by name of the router, such as {"balance": 0.03} or {"speed": 0.01}.

    Example:
        >>> mixture = MixtureFeedForward(count=16, k=2, hidden=256)
        >>> mixture.dense()
        DenseFeedForward(hidden=520)
    """

    count: int = 16
    k: int = 2
    hidden: int = 256
    router: str | Estimator = "bias_balanced"
    tokens: Tokens = "causal"
    activation: str = "gelu"
    level: Level = "token"
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_at_least(1, count=self.count, k=self.k, hidden=self.hidden)
        if twice := sorted({"router", "dim", "count", "k"} & set(self.options)):
            raise ValueError(
                f"options hold {', '.join(twice)}, which the mixture says: they are arguments of the router alone"
            )

    def __call__(self, dim: int) -> nn.Module:
        form = ExpertMLP(dim, self.hidden, self.activation)
        router = router_of(self.router, dim, self.count, self.k, **self.options)
        return MixtureOfExperts(form, self.count, self.k, router=router, tokens=self.tokens, level=self.level)

    def dense(self) -> DenseFeedForward:
        """The dense layer of the FLOPs of a token: k experts, 4 d h each, and the router, 2 d N."""
        return DenseFeedForward(self.k * self.hidden + self.count // 2)
