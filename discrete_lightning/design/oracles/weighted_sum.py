"""Several oracles as one: a weighted sum, and the scores of each for a trade-off."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.design.oracles.composite import Composite, one_score_each
from discrete_lightning.design.oracles.one_output import OneOutput


class WeightedSum(Composite):
    """score(x) = sum_i weight_i * oracle_i(x): raise one (weight > 0), keep another low (weight < 0).

    Under Minimize it is the reverse. Designs report each oracle's score in a column. Under Maximize and Minimize a search also
    keeps the Pareto front of all sequences that it ever scored: `SequenceDesigner.pareto_front()`, pareto.csv of DesignWriter.

    Args:
        oracles: modules of one-hot sequences (batch, letters, length) to scores (batch,) or (batch, 1). Several OneOutput of
            one model run it once. The columns of an Ensemble or a WeightedSum among them are named `<name>_<column>`.
        weights: as many numbers, none of them 0.
        names: of the oracles in reports; their classes, numbered, if None.

    Raises:
        ValueError: if the numbers of oracles, weights and names differ, a weight is 0, or (when called) an oracle does not
            return one score a sequence.

    Example:
        >>> from discrete_lightning.design.oracles import MotifScan
        >>> both = WeightedSum([MotifScan("GATA2"), MotifScan("JUN")], weights=[1.0, -0.5])
        >>> x = torch.nn.functional.one_hot(torch.arange(40) % 4, 4).T[None].float()
        >>> bool(torch.allclose(both(x), (both.components(x) * torch.tensor([1.0, -0.5])).sum(1)))
        True
    """

    weights: Tensor

    def __init__(
        self, oracles: Sequence[nn.Module], weights: Sequence[float], names: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        labels = (
            [f"{type(oracle).__name__}_{i}" for i, oracle in enumerate(oracles, 1)] if names is None else list(names)
        )
        if not len(oracles) == len(weights) == len(set(labels)) or not oracles:
            raise ValueError(
                f"WeightedSum needs as many weights, and different names, as oracles: got {len(oracles)} oracles, "
                f"weights {list(weights)}, names {labels}"
            )
        if not all(weights):
            raise ValueError(f"WeightedSum: a weight of 0 leaves its oracle out, got weights {list(weights)}")
        self.oracles, self.names, self.signs = nn.ModuleList(oracles), [], []
        for oracle, weight, label in zip(oracles, weights, labels, strict=True):
            sign = 1.0 if weight > 0 else -1.0
            if isinstance(oracle, Composite):
                self.names += [f"{label}_{name}" for name in oracle.names]
                self.signs += [sign * inner for inner in oracle.signs]
            else:
                self.names.append(label)
                self.signs.append(sign)
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"WeightedSum: two columns have one name, choose other names: {self.names}")
        self.register_buffer("weights", torch.tensor([float(weight) for weight in weights]), persistent=False)

    def components(self, x: Tensor) -> Tensor:
        """Columns (batch, columns) of all oracles: one score of each, and all columns of those that are composite."""
        outputs: dict[int, Tensor] = {}  # of models of which several outputs are used
        columns = []
        for oracle in self.oracles:
            if isinstance(oracle, Composite):
                columns.append(oracle.components(x))
                continue
            if isinstance(oracle, OneOutput):
                if id(oracle.oracle) not in outputs:
                    outputs[id(oracle.oracle)] = oracle.oracle(x)
                scores = oracle.choose(outputs[id(oracle.oracle)])
            else:
                scores = oracle(x)
            columns.append(one_score_each(scores, oracle, len(x)).unsqueeze(1))
        return torch.cat(columns, 1)

    def _each(self, components: Tensor) -> tuple[Tensor, Tensor]:
        """Value and doubt (batch, oracles) of every oracle."""
        widths = [len(oracle.names) if isinstance(oracle, Composite) else 1 for oracle in self.oracles]
        values, doubts = [], []
        for oracle, columns in zip(self.oracles, components.split(widths, 1), strict=True):
            value, doubt = columns[:, 0], torch.zeros_like(columns[:, 0])
            if isinstance(oracle, Composite):
                value, doubt = oracle.value_and_doubt(columns)
            values.append(value)
            doubts.append(doubt)
        return torch.stack(values, 1), torch.stack(doubts, 1)

    def value_and_doubt(self, components: Tensor) -> tuple[Tensor, Tensor]:
        values, doubts = self._each(components)
        weights = self.weights.to(components)
        return (values * weights).sum(1), (doubts * weights.abs()).sum(1)

    def objectives(self, components: Tensor, sign: float = 1.0) -> Tensor:
        """What a Pareto front compares, (batch, oracles), more is better: each oracle's score in the wanted direction.

        Args:
            components: (batch, columns).
            sign: +1 if the sum is to rise, -1 if it is to fall.
        """
        values, doubts = self._each(components)
        return values * (sign * self.weights.sign()).to(components) - doubts
