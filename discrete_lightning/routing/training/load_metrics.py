"""The load of all mixtures in a model, over the batches of an evaluation."""

from typing import Any

from torch import Tensor, nn

from discrete_lightning.routing.expert_load import ExpertLoad
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.training.watched import routers_of


class LoadMetrics(nn.Module):
    """An `ExpertLoad` for each router in a module.

    Args:
        module: whose routers are counted.

    Example:
        >>> LoadMetrics(nn.Linear(2, 2)).figures()
        {}
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.names = {name: i for i, name in enumerate(routers_of(module))}
        self.loads = nn.ModuleList(ExpertLoad(each.count) for each in routers_of(module).values())

    def add(self, name: str, routed: Routed) -> None:
        """Adds what the router of a name returned."""
        metric: Any = self.loads[self.names[name]]
        metric.update(routed)

    def figures(self) -> dict[str, Tensor]:
        """0-dim figures of all tokens of all ranks since the last call; a collective call. Of several mixtures:

        dead_experts         their number in all
        load_violation       the largest
        router_information   the mean of marginal_entropy - router_entropy, in nats: what a choice tells of a token
        """
        found = [each.compute() for each in self.loads]  # type: ignore[operator]
        for each in self.loads:
            each.reset()  # type: ignore[operator]
        if not found:
            return {}
        information = [each["marginal_entropy"] - each["router_entropy"] for each in found]
        return {
            "dead_experts": sum(each["dead_experts"] for each in found),
            "load_violation": max(each["load_violation"] for each in found),
            "router_information": sum(information) / len(found),
        }
