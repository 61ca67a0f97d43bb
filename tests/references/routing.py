"""A mixture of experts without sorting: every expert on every token."""

import torch
from torch import Tensor

from discrete_lightning.routing import MixtureOfExperts, Routed, StackedMLP
from discrete_lightning.routing.experts.mlp import ACTIVATIONS


def all_outputs(experts: StackedMLP, x: Tensor) -> Tensor:
    """f_i(x_t) of each expert and token, (T, N, d), for tokens (T, d)."""
    hidden = torch.einsum("td,ndh->tnh", x, experts.w_in)
    if experts.b_in is not None:
        hidden = hidden + experts.b_in
    act = ACTIVATIONS[experts.form.activation]
    if experts.form.gated:
        gate, value = hidden.chunk(2, -1)
        hidden = act(gate) * value
    else:
        hidden = act(hidden)
    y = torch.einsum("tnh,nhd->tnd", hidden, experts.w_out)
    return y if experts.b_out is None else y + experts.b_out


def dense_mixture(layer: MixtureOfExperts, x: Tensor, routed: Routed, mask: Tensor | None = None) -> Tensor:
    """What `layer` makes of tokens (..., d) that were `routed`, with the gradients of all experts."""
    outputs = all_outputs(layer.experts, x.reshape(-1, layer.dim))
    indices, gates = (each.reshape(len(outputs), -1) for each in (routed.indices, routed.gates))
    if routed.taken is not None:
        gates = gates * routed.taken.reshape(gates.shape)
    if mask is not None:
        gates = gates * mask.reshape(-1, 1)
    weights = torch.zeros(outputs.shape[:2], dtype=gates.dtype).scatter_add(1, indices, gates)
    y = (weights.unsqueeze(-1).to(outputs.dtype) * outputs).sum(1)
    if routed.rivals is not None and routed.rival_gates is not None:
        rivals, slopes = (each.reshape(len(outputs), -1) for each in (routed.rivals, routed.rival_gates))
        slopes = slopes if mask is None else slopes * mask.reshape(-1, 1)
        weights = torch.zeros(outputs.shape[:2], dtype=slopes.dtype).scatter_add(1, rivals, slopes)
        y = y + (weights.unsqueeze(-1).to(outputs.dtype) * outputs.detach()).sum(1)
    return y.view(x.shape)
