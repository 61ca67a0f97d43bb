"""Routing in Lightning: a monitor of routers."""

from discrete_lightning.routing.training.router_monitor import RouterMonitor

__all__ = ["RouterMonitor"]
