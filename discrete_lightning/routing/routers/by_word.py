"""A router by one word, by an estimator, or one that was built before."""

from collections.abc import Callable

from discrete_lightning.estimators import Estimator, Paired
from discrete_lightning.routing.router import Router
from discrete_lightning.routing.routers.bias_balanced import BiasBalancedRouter
from discrete_lightning.routing.routers.expert_choice import ExpertChoiceRouter
from discrete_lightning.routing.routers.noisy_top_k import NoisyTopKRouter
from discrete_lightning.routing.routers.remoe import ReMoERouter
from discrete_lightning.routing.routers.sampled import SampledRouter
from discrete_lightning.routing.routers.switch import SwitchRouter
from discrete_lightning.routing.routers.top_k import TopKRouter


def _switch(dim: int, count: int, k: int) -> Router:
    if k != 1:
        raise ValueError(f"router='switch' chooses one expert, got k={k}: give k=1, or router='top_k'")
    return SwitchRouter(dim, count)


ROUTERS: dict[str, Callable[[int, int, int], Router]] = {
    "top_k": TopKRouter,
    "noisy_top_k": NoisyTopKRouter,
    "switch": _switch,
    "bias_balanced": BiasBalancedRouter,
    "sampled": SampledRouter,
    "paired": lambda dim, count, k: SampledRouter(dim, count, k, estimator=Paired()),
    "expert_choice": ExpertChoiceRouter,
    "remoe": ReMoERouter,
}


def router_of(router: str | Router | Estimator, dim: int, count: int, k: int) -> Router:
    """The router that `router` stands for.

    Args:
        router: a word of `ROUTERS`; an estimator, for a `SampledRouter` with it; or a router.
        dim: d of the tokens.
        count: N.
        k: experts of a token.

    Raises:
        ValueError: if the word is unknown, k is out of range, or the router is for other experts.

    Example:
        >>> router_of("switch", dim=4, count=8, k=1)
        SwitchRouter(
          dim=4, count=8, k=1
          (balance): LossWeight(0.01)
        )
    """
    if isinstance(router, Router):
        if (router.dim, router.count, router.k) != (dim, count, k):
            raise ValueError(
                f"the experts are dim={dim}, count={count}, k={k}, and the router is for dim={router.dim}, "
                f"count={router.count}, k={router.k}: give both the same"
            )
        return router
    if isinstance(router, Estimator):
        return SampledRouter(dim, count, k, estimator=router)
    if router not in ROUTERS:
        raise ValueError(f"router must be an estimator, a Router, or one of {', '.join(ROUTERS)}; got {router!r}")
    return ROUTERS[router](dim, count, k)
