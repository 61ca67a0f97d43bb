"""Calls `update()` of modules after an optimiser's step, in plain PyTorch and in Lightning, without a callback.

A codebook collects statistics in its forward passes and applies them once per optimiser step; torch reports every
step through a global hook. All ranks run the same program, so they call the modules in the same order.
"""

import weakref
from typing import Any, Protocol

from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook


class _Updatable(Protocol):
    def update(self) -> None: ...


_waiting: dict[int, "weakref.ref[_Updatable]"] = {}
_hook: Any = None


def call_after_step(module: _Updatable) -> None:
    """Has `module.update()` called once, after the next step of any torch optimiser."""
    global _hook
    if _hook is None:
        _hook = register_optimizer_step_post_hook(_run)
    known = _waiting.get(id(module))
    if known is None or known() is not module:  # the id may be that of a deleted module
        _waiting[id(module)] = weakref.ref(module)


def _run(_optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
    modules = [reference() for reference in _waiting.values()]
    _waiting.clear()
    for module in modules:
        if module is not None:
            module.update()
