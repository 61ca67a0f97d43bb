"""A router by one word, by an estimator, or one that was built before."""

import inspect
from typing import Any

from discrete_lightning import estimators
from discrete_lightning.estimators import Estimator, Paired
from discrete_lightning.routing.router import Router
from discrete_lightning.routing.routers.bias_balanced import BiasBalancedRouter
from discrete_lightning.routing.routers.expert_choice import ExpertChoiceRouter
from discrete_lightning.routing.routers.noisy_top_k import NoisyTopKRouter
from discrete_lightning.routing.routers.remoe import ReMoERouter
from discrete_lightning.routing.routers.sampled import SampledRouter
from discrete_lightning.routing.routers.switch import SwitchRouter
from discrete_lightning.routing.routers.top_k import TopKRouter

ROUTERS: dict[str, type[Router]] = {
    "top_k": TopKRouter,
    "noisy_top_k": NoisyTopKRouter,
    "switch": SwitchRouter,
    "bias_balanced": BiasBalancedRouter,
    "sampled": SampledRouter,
    "paired": SampledRouter,
    "expert_choice": ExpertChoiceRouter,
    "remoe": ReMoERouter,
}


def router_of(router: str | Router | Estimator, dim: int, count: int, k: int, **options: Any) -> Router:
    """The router that `router` stands for.

    Args:
        router: a word of `ROUTERS`; an estimator, or its name, for a `SampledRouter` with it; or a router.
        dim: d of the tokens.
        count: N.
        k: experts of a token.
        options: arguments by name of the router that is built, such as balance=0.03.

    Raises:
        ValueError: if the word is unknown, k is out of range, the router is for other experts, or it has no such option.

    Example:
        >>> router_of("switch", dim=4, count=8, k=1)
        SwitchRouter(
          dim=4, count=8, k=1
          (balance): LossWeight(0.01)
        )
    """
    if isinstance(router, Router):
        if options:
            raise ValueError(f"{', '.join(options)} cannot be given to a {type(router).__name__} that was built before")
        if (router.dim, router.count, router.k) != (dim, count, k):
            raise ValueError(
                f"the experts are dim={dim}, count={count}, k={k}, and the router is for dim={router.dim}, "
                f"count={router.count}, k={router.k}: give both the same"
            )
        return router
    named = getattr(estimators, router, None) if isinstance(router, str) else None
    if isinstance(named, type) and issubclass(named, Estimator) and named is not Estimator:
        router = named()
    if isinstance(router, Estimator):
        return _with_estimator(router, dim, count, k, options)
    if router not in ROUTERS:
        raise ValueError(
            f"router must be a Router, an estimator or its name (ReinMax, LeaveOneOut, ...), or one of {', '.join(ROUTERS)}; "
            f"got {router!r}"
        )
    if router == "paired":
        return _with_estimator(Paired(), dim, count, k, options)
    if router == "switch":
        if k != 1:
            raise ValueError(f"router='switch' chooses one expert, got k={k}: give k=1, or router='top_k'")
        return _built(SwitchRouter, dim, count, None, options)
    return _built(ROUTERS[router], dim, count, k, options)


def _with_estimator(estimator: Estimator, dim: int, count: int, k: int, options: dict[str, Any]) -> Router:
    if "estimator" in options:
        raise ValueError(f"two estimators, {estimator} and {options['estimator']!r}: give one, or router='sampled'")
    return _built(SampledRouter, dim, count, k, {"estimator": estimator, **options})


def _built(kind: type[Router], dim: int, count: int, k: int | None, options: dict[str, Any]) -> Router:
    sizes = {"dim": dim, "count": count} | ({} if k is None else {"k": k})
    known = [name for name in inspect.signature(kind).parameters if name not in ("dim", "count", "k")]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(f"{kind.__name__} has no option {', '.join(unknown)}: its options are {', '.join(known)}")
    return kind(**sizes, **options)
