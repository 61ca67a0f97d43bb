"""Several oracles as one: the weighted sum of their scores; each score is kept for the Pareto front."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.design.oracles.composite import Composite, one_score_each
from discrete_lightning.design.oracles.function import Oracle, as_module, name_of
from discrete_lightning.design.oracles.one_output import OneOutput
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device


class WeightedSum(Composite, ConstantBuffers):
    """score(x) = sum_i weight_i * oracle_i(x): under Maximize, scores of weight > 0 are raised and of weight < 0 lowered.

    Under Minimize it is the opposite. Designs report the score of each oracle in a column. Under Maximize and Minimize a
    search also keeps the Pareto front of all sequences that it scored: `SequenceDesigner.pareto_designs()`, pareto.csv of
    DesignWriter.

    Args:
        oracles: modules or functions of one-hot sequences (batch, letters, length) to scores (batch,) or (batch, 1). Several
            OneOutput of one model run it once. The columns of an Ensemble or a WeightedSum among them are named
            `<name>_<column>`.
        weights: one number for each oracle, not 0.
        names: of the oracles in reports; if None, the names of their classes, numbered.

    Raises:
        ValueError: the numbers of oracles, weights and names differ, names repeat, a weight is 0 or not finite, or (when
            called) an oracle does not return one score for each sequence.

    Example:
        >>> from discrete_lightning.design.oracles import MotifScan
        >>> both = WeightedSum([MotifScan("GATA2"), MotifScan("JUN")], weights=[1.0, -0.5])
        >>> x = torch.nn.functional.one_hot(torch.arange(40) % 4, 4).T[None].float()
        >>> bool(torch.allclose(both(x), (both.components(x) * torch.tensor([1.0, -0.5])).sum(1)))
        True
    """

    weights: Tensor

    def __init__(self, oracles: Sequence[Oracle], weights: Sequence[float], names: Sequence[str] | None = None) -> None:
        super().__init__()
        modules = [as_module(oracle) for oracle in oracles]
        labels = [f"{name_of(each)}_{i}" for i, each in enumerate(modules, 1)] if names is None else list(names)
        if not len(oracles) == len(weights) == len(set(labels)) or not oracles:
            raise ValueError(
                f"WeightedSum needs as many weights, and different names, as oracles: got {len(oracles)} oracles, "
                f"weights {list(weights)}, names {labels}"
            )
        if not all(weight and math.isfinite(weight) for weight in weights):
            raise ValueError(
                f"WeightedSum: weights are finite, and an oracle with weight 0 has no effect, got weights {list(weights)}"
            )
        self.oracles, self.names, self.signs = nn.ModuleList(modules), [], []
        for oracle, weight, label in zip(modules, weights, labels, strict=True):
            sign = 1.0 if weight > 0 else -1.0
            if isinstance(oracle, Composite):
                self.names += [f"{label}_{name}" for name in oracle.names]
                self.signs += [sign * inner for inner in oracle.signs]
            else:
                self.names.append(label)
                self.signs.append(sign)
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"WeightedSum: two columns have the same name, choose other names: {self.names}")
        with real_device():
            self.register_constant("weights", torch.tensor([float(weight) for weight in weights], dtype=torch.float32))

    def components(self, x: Tensor) -> Tensor:
        """The columns (batch, columns) of all oracles: all columns of a Composite, one score of every other oracle."""
        outputs: dict[int, Tensor] = {}  # of the models behind OneOutput
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
        """The value and the uncertainty (batch, oracles) of every oracle."""
        widths = [len(oracle.names) if isinstance(oracle, Composite) else 1 for oracle in self.oracles]
        values, uncertainties = [], []
        for oracle, columns in zip(self.oracles, components.split(widths, 1), strict=True):
            value, uncertainty = columns[:, 0], torch.zeros_like(columns[:, 0])
            if isinstance(oracle, Composite):
                value, uncertainty = oracle.value_and_uncertainty(columns)
            values.append(value)
            uncertainties.append(uncertainty)
        return torch.stack(values, 1), torch.stack(uncertainties, 1)

    def value_and_uncertainty(self, components: Tensor) -> tuple[Tensor, Tensor]:
        values, uncertainties = self._each(components)
        weights = self.weights.to(components)
        return (values * weights).sum(1), (uncertainties * weights.abs()).sum(1)

    def objectives(self, components: Tensor, sign: float = 1.0) -> Tensor:
        """The objectives of a Pareto front, (batch, oracles): each oracle's score with the sign that makes higher better.

        Args:
            components: (batch, columns).
            sign: +1 if the sum is maximised, -1 if it is minimised.
        """
        values, uncertainties = self._each(components)
        return values * (sign * self.weights.sign()).to(components) - uncertainties
