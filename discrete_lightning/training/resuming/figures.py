"""What was logged and measured so far in an epoch: Lightning's running means, and the states of torchmetrics.

The part that reads Lightning's private interface; tests/test_private_interfaces.py checks it.
"""

import builtins
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync
from torch import Tensor
from torchmetrics import Metric

from discrete_lightning.training.resuming.random_state import Plain

_NUMBERS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool)
_BUILTIN = (sum, max, min)  # which `self.log` takes for torch's
_LOGGED = ("_callback_metrics", "_logged_metrics", "_progress_bar_metrics")
_META = (
    "fx",
    "name",
    "prog_bar",
    "logger",
    "on_step",
    "on_epoch",
    "enable_graph",
    "add_dataloader_idx",
    "dataloader_idx",
    "metric_attribute",
)


def figures(trainer: Trainer, module: LightningModule) -> Plain:
    """All figures of the training epoch so far."""
    connector, results = trainer._logger_connector, trainer.fit_loop.epoch_loop._results
    return {
        "metrics": {name: _metric_state(each) for name, each in _metrics(module).items() if each.update_called},
        "results": [_result_state(key, each) for key, each in results.items() if each.meta.sync.group is None],
        "logged": {name: _plain(getattr(connector, name)) for name in _LOGGED},
        "first_iteration": connector._first_loop_iter,
        "function": connector._current_fx,
    }


def set_figures(trainer: Trainer, module: LightningModule, state: Plain, in_epoch: bool) -> None:
    """Restores `figures`.

    Args:
        trainer: that fits.
        module: its module.
        state: of this rank.
        in_epoch: whether there are batches before the end of the epoch.
    """
    connector, results = trainer._logger_connector, trainer.fit_loop.epoch_loop._results
    metrics = _metrics(module)
    for name, each in state["metrics"].items():
        if name in metrics:
            _set_metric_state(metrics[name], each, module.device)
    results.clear()
    for each in state["results"]:
        result = _result(each, trainer, metrics, module.device)
        if result is not None:
            results[each["key"]] = result
    for name in _LOGGED:
        getattr(connector, name).update(_on(state["logged"][name], module.device))
    if in_epoch:
        connector._first_loop_iter, connector._current_fx = state["first_iteration"], state["function"]


def _metrics(module: LightningModule) -> dict[str, Metric]:
    return {name: each for name, each in module.named_modules() if isinstance(each, Metric)}


def _metric_state(metric: Metric) -> Plain:
    values = {name: _plain(getattr(metric, name)) for name in metric._defaults}
    return {"values": values, "updates": metric._update_count, "last": _plain(metric._forward_cache)}


def _set_metric_state(metric: Metric, state: Plain, device: torch.device) -> None:
    for name, value in state["values"].items():
        if name in metric._defaults:
            setattr(metric, name, _on(value, device))
    metric._update_count, metric._computed = state["updates"], None
    metric._forward_cache = _on(state["last"], device)


def _result_state(key: str, result: _ResultMetric) -> Plain:
    meta = result.meta
    state = {name: getattr(meta, name) for name in _META}
    state |= {"key": key, "is_tensor": result.is_tensor, "has_reset": result.has_reset}
    state |= {"reduce": meta.reduce_fx.__name__, "builtin": meta.reduce_fx in _BUILTIN}
    state |= {"last": _plain(result._forward_cache)}
    state |= {"sync": meta.sync.should, "op": meta.sync.op, "rank_zero_only": meta.sync.rank_zero_only}
    if result.is_tensor:
        state["values"] = {name: _plain(getattr(result, name)) for name in result._defaults}
    return state | {"updates": result._update_count}


def _result(
    state: Plain, trainer: Trainer, metrics: Mapping[str, Metric], device: torch.device
) -> _ResultMetric | None:
    if not state["is_tensor"] and state["metric_attribute"] not in metrics:
        return None
    reduce = getattr(builtins if state["builtin"] else torch, state["reduce"])
    meta = _Metadata(**{name: state[name] for name in _META}, reduce_fx=reduce)
    meta.sync = _Sync(
        _should=state["sync"],
        fn=trainer.strategy.reduce,
        _op=state["op"],
        rank_zero_only=state["rank_zero_only"],
    )
    result = _ResultMetric(meta, state["is_tensor"])
    if state["is_tensor"]:
        for name, value in state["values"].items():
            setattr(result, name, _on(value, device))
    else:
        result.value = metrics[state["metric_attribute"]]
    result.has_reset, result._forward_cache = state["has_reset"], _on(state["last"], device)
    result._update_count = state["updates"]
    return result


def _plain(value: Any) -> Plain:
    """A copy on the CPU. A single number is no tensor: each tensor of a checkpoint is a record of some 200 bytes."""
    if isinstance(value, Tensor):
        if value.ndim == 0 and value.dtype in _NUMBERS:
            return {"number": value.item(), "type": str(value.dtype).removeprefix("torch.")}
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {"dict": [(key, _plain(each)) for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, int | float | str | None) else None


def _on(value: Plain, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict) and "number" in value:
        return torch.tensor(value["number"], dtype=getattr(torch, value["type"]), device=device)
    if isinstance(value, dict):
        return {key: _on(each, device) for key, each in value["dict"]}
    return [_on(each, device) for each in value] if isinstance(value, list) else value
