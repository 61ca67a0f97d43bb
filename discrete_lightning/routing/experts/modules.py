"""Experts of any kind of module: one after the other, each on its rows."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from discrete_lightning.layers.reaching import reaching
from discrete_lightning.routing.experts.experts import Experts


class StackedModules(Experts):
    """N modules of one kind, their parameters stacked. Each is called once a pass, with all of its rows (m, d), if it has any.

    Where each expert's rows end is read, for which an accelerator waits, and which breaks a compiled graph: `ExpertMLP` does
    without.

    Args:
        modules: of equal structure, (m, d) to (m, d).
        dim: d.

    Raises:
        ValueError: if there is no module, one changes the shape of its input, or holds BatchNorm.

    Example:
        >>> experts = StackedModules([nn.Linear(4, 4) for _ in range(3)], dim=4)
        >>> experts(torch.randn(5, 4), torch.tensor([2, 2, 5], dtype=torch.int32)).shape
        torch.Size([5, 4])
    """

    def __init__(self, modules: Sequence[nn.Module], dim: int) -> None:
        super().__init__()
        if not modules:
            raise ValueError("StackedModules needs at least one module, got none")
        _check(modules[0], dim)
        self.count, self.dim = len(modules), dim
        parameters, buffers = stack_module_state(list(modules))
        self._names, self._buffer_names = list(parameters), list(buffers)
        for name, value in parameters.items():
            self.register_parameter(_key(name), nn.Parameter(value.detach(), value.requires_grad))
        for name, value in buffers.items():
            self.register_buffer(_key(name), value.detach())
        self._one = (copy.deepcopy(modules[0]).to("meta"),)  # its code alone; in a tuple, so that it is no submodule

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        parameters = [getattr(self, _key(name)) for name in self._names]
        each = [
            dict(zip(self._names, values, strict=True))
            for values in zip(*(p.unbind() for p in parameters), strict=True)
        ]
        each = each or [{} for _ in range(self.count)]  # modules without parameters
        module = self._one[0].train(self.training)
        outputs: list[Tensor] = []
        start = 0
        for expert, end in enumerate(ends.tolist()):
            if end > start:
                buffers = {name: getattr(self, _key(name))[expert] for name in self._buffer_names}
                outputs.append(functional_call(module, {**each[expert], **buffers}, (rows[start:end],)))
            start = max(start, end)
        dtype = outputs[0].dtype if outputs else rows.dtype
        out = torch.cat([*outputs, rows.new_zeros(len(rows) - start, self.dim, dtype=dtype)])
        return reaching(out, parameters)  # used in each pass, as DistributedDataParallel asks


def _key(name: str) -> str:
    return name.replace(".", "/")


@torch.no_grad()
def _check(module: nn.Module, dim: int) -> None:
    for name, inner in module.named_modules():
        if isinstance(inner, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"an expert holds {type(inner).__name__} {name!r}: its statistics would be of whatever tokens came to that "
                "expert; take LayerNorm or RMSNorm"
            )
    first = next(iter(module.parameters()), None)
    like = torch.zeros(2, dim) if first is None else torch.zeros(2, dim, dtype=first.dtype, device=first.device)
    trained = module.training
    out = module.eval()(like)
    module.train(trained)
    if out.shape != like.shape:
        raise ValueError(
            f"an expert keeps the shape of its tokens: given {tuple(like.shape)}, it made {tuple(out.shape)}"
        )
