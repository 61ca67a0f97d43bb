"""The plain network that a decision of gates leaves, described by plain data, so that a config can train it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.selection.budget import gate_layers
from discrete_lightning.selection.derive import derived_by
from discrete_lightning.storage.digest import check_digest, check_records
from discrete_lightning.storage.json_file import read_json


class DerivedNetwork(Recorded, nn.Module):
    """What `derive` leaves of a network with gates: built anew from the network's arguments and the open gates.

    Args:
        network: with gates; its weights are not used if `weights` are given.
        decision: the open gates of each layer of gates by its name, or a `pruned.json` of the callback PrunedWriter.
        weights: a file with the state dict of the derived network (`network.pt`), or None: those of `network`.

    Attributes:
        derived: the plain network.

    Raises:
        ValueError: if a file is not there or holds something else, or layers of gates or weights have other names or sizes.
        TieError: see `derive`.

    Example:
        >>> from discrete_lightning.selection.networks.gated_conv_net import GatedConvNet
        >>> network = DerivedNetwork(GatedConvNet([4, 8]), {"stages.0.2": [0, 3], "stages.1.2": [1, 2, 5]})
        >>> network.derived.head
        Linear(in_features=3, out_features=10, bias=True)
    """

    def __init__(self, network: nn.Module, decision: dict[str, list[int]] | str, weights: str | None = None) -> None:
        super().__init__()
        chosen = _read(decision) if isinstance(decision, str) else decision
        layers = gate_layers(network)
        if set(chosen) != set(layers):
            raise ValueError(
                f"the decision is of the gates {', '.join(chosen) or 'of nothing'}, and {type(network).__name__} has "
                f"{', '.join(layers) or 'none'}: give the network that was pruned, with its arguments"
            )
        self.derived = derived_by(
            network, {each: _mask(name, each.size, chosen[name]) for name, each in layers.items()}
        )
        if weights is not None:
            self.derived.load_state_dict(_weights(weights, self.derived))
        self.example = getattr(network, "example", None)
        # what the files hold now, for checkpoints: the weights are in them
        (self._recorded["init_args"] or {}).update(decision={k: list(v) for k, v in chosen.items()}, weights=None)

    def forward(self, *inputs: Any) -> Any:
        """That of the derived network."""
        return self.derived(*inputs)


def _mask(name: str, size: int, open: Sequence[int]) -> Tensor:
    if any(not 0 <= each < size for each in open):
        raise ValueError(
            f"{name} has the gates 0 to {size - 1}, and the decision opens {list(open)}: give its own network"
        )
    return torch.zeros(size, dtype=torch.bool).index_fill(0, torch.tensor(list(open), dtype=torch.int64), True)


def _read(file: str) -> dict[str, list[int]]:
    try:
        saved = read_json(Path(file))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{file} cannot be read ({' '.join(str(error).split())}): give the pruned.json of a run"
        ) from None
    found = saved.get("decision") if isinstance(saved, Mapping) else None
    if not isinstance(found, Mapping):
        raise ValueError(
            f"{file} holds no decision of gates: give the pruned.json of a run, or the open gates themselves"
        )
    if not all(isinstance(each, list) and all(type(gate) is int for gate in each) for each in found.values()):
        raise ValueError(
            f"{file} holds a decision that is no list of open gates for each layer: give the pruned.json of a run"
        )
    return {name: list(each) for name, each in found.items()}


def _weights(file: str, network: nn.Module) -> dict[str, Tensor]:
    try:
        if not check_digest(Path(file)):
            check_records(Path(file))
        found: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{file} cannot be read ({reason}): give the network.pt of a run, or null") from None
    expected = network.state_dict()
    if not isinstance(found, Mapping) or not all(isinstance(each, Tensor) for each in found.values()):
        raise ValueError(f"{file} holds no weights: give the network.pt of a run, or null")
    if bad := [name for name, each in found.items() if each.is_floating_point() and not bool(each.isfinite().all())]:
        raise ValueError(
            f"{file} has values that are not finite in {bad[0]}: the training had diverged; give another one"
        )
    wrong = [name for name in expected if name not in found or found[name].shape != expected[name].shape]
    if wrong or set(found) - set(expected):
        raise ValueError(
            f"{file} holds the weights of another network ({(wrong or sorted(set(found) - set(expected)))[0]})"
        )
    return found
