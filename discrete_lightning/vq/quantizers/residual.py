"""Residual quantisation (Zeghidour et al. 2021, algorithm 1; https://arxiv.org/abs/2107.03312): each stage quantises the
residual of those before it.

    r_1 = x,   q_i = Q_i(r_i),   r_{i+1} = (r_i - q_i) / s,   quantized = sum_i s^{i-1} q_i

s is 1 where codes are learned; of codes on a fixed grid (finite scalar, look-up-free) it is the size of a cell.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional._checks import check_finite
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import uniform
from discrete_lightning.functional.keyed_noise import picked_rows
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device
from discrete_lightning.layers.reaching import reaching
from discrete_lightning.vq.functional.beam_search import beam_search
from discrete_lightning.vq.quantized import PADDING, Quantized, fill_padding
from discrete_lightning.vq.quantizer import Quantizer
from discrete_lightning.vq.quantizers.composite import CompositeQuantizer, separate_parts
from discrete_lightning.vq.quantizers.factorized import FactorizedQuantizer
from discrete_lightning.vq.quantizers.nearest_code import NearestCodeQuantizer


class ResidualQuantizer(ConstantBuffers, CompositeQuantizer):
    """A stack of quantisers, each for the residual of those before it.

    With stages that have a commitment loss (nearest codes), the sum passes its gradient to the vectors as one such quantiser
    does, and each stage's loss pulls the vectors to the sum so far. With stages that sample, the gradient is that of the
    whole computation.

    Fewer stages can be used than there are: `decode` takes the indices of the first ones, `forward` a `depth`, and -1 stands
    for the code of a stage that is left out. With `dropout` the stack is trained for that.

    Args:
        quantizer: any Quantizer: the first stage, copied for the others. Or a list of all stages, which may differ in
            `num_codes`.
        depth: number of stages, >= 1; left out with a list.
        dropout: quantiser dropout (Zeghidour et al. 2021, section III.C), for several bit rates: the share, in [0, 1], of the
            examples (along the first dimension) that in training get a random number of stages, from 1 to all. Or a list:
            how often, in proportion, an example gets 1, 2, ... stages. The codes of the stages left out are -1, their logits
            zeros, and they learn nothing from those examples.
        beam: how many partial sums of codes each stage keeps, >= 1, in training, too (`functional.beam_search`). With more than
            1 a squared error is never larger than that of 1, which is each stage's nearest code; the stages then are
            quantisers of nearest codes, factorised or not. The first stages' codes of a search with fewer are others.

    Raises:
        ValueError: if depth < 1, dropout is neither in [0, 1] nor a list of as many weights >= 0 as stages, beam < 1, beam > 1
            with stages that do not look up nearest codes, a quantiser is or holds a ResidualQuantizer, or the quantisers of a
            list cannot be put together; in forward, if a quantiser raises it.

    Example:
        >>> from discrete_lightning.nn import VectorQuantizer
        >>> quantizer = ResidualQuantizer(VectorQuantizer(num_codes=16, dim=8), depth=3)
        >>> result = quantizer(torch.randn(100, 8))
        >>> result.quantized.shape, result.indices.shape
        (torch.Size([100, 8]), torch.Size([100, 3]))
    """

    scales: Tensor
    reached: Tensor  # the share of examples with that many stages or fewer

    _may_be_prefix = True

    def __init__(
        self,
        quantizer: Quantizer | Sequence[Quantizer],
        depth: int | None = None,
        dropout: float | Sequence[float] = 0.0,
        beam: int = 1,
    ) -> None:
        parts = separate_parts(quantizer, depth, "ResidualQuantizer", "depth")
        if any(isinstance(each, ResidualQuantizer) for part in parts for each in part.modules()):
            raise ValueError(
                "a ResidualQuantizer inside another equals a single one of greater depth: use one with that depth"
            )
        if len({part.dim for part in parts}) > 1:
            raise ValueError(f"stages of one dim are needed, got {', '.join(str(part.dim) for part in parts)}")
        if beam < 1:
            raise ValueError(f"ResidualQuantizer: a beam keeps 1 sum of codes or more, got {beam}")
        if beam > 1 and (others := {type(each).__name__ for each in parts if not _looks_up(each)}):
            raise ValueError(
                f"ResidualQuantizer: beam={beam} searches among the codes of stages that look up the nearest one "
                f"(VectorQuantizer, LearnedVectorQuantizer, factorised or not), not of {', '.join(sorted(others))}"
            )
        super().__init__(parts, parts[0].dim)
        self.beam = int(beam)
        with real_device():
            scales = [torch.ones(self.dim, dtype=torch.float32)]
            for part in parts[:-1]:
                scales.append(scales[-1] * torch.tensor(part.residual_scale(), dtype=torch.float32))
            self.register_constant("scales", torch.stack(scales))
            self._is_scaled = any(part.residual_scale() != [1.0] * self.dim for part in parts[:-1])
            self.register_constant("reached", torch.ones(len(parts), dtype=torch.float32))
        self.dropout = dropout

    @property
    def dropout(self) -> float | tuple[float, ...]:
        """As it was given; it may be set."""
        return self._dropout

    @dropout.setter
    def dropout(self, dropout: float | Sequence[float]) -> None:
        shares = _shares(dropout, len(self.quantizers))
        self._dropout = float(dropout) if isinstance(dropout, int | float) else tuple(map(float, dropout))
        with real_device():
            self.reached.copy_(torch.tensor(shares, dtype=torch.float64).cumsum(0))

    def extra_repr(self) -> str:
        given = {"dropout": self.dropout} if self.dropout else {}
        return ", ".join(
            f"{name}={value}" for name, value in (given | ({"beam": self.beam} if self.beam > 1 else {})).items()
        )

    def forward(self, vectors: Tensor, mask: Tensor | None = None, depth: int | None = None) -> Quantized:
        """Quantises vectors, see `Quantizer.forward`.

        Args:
            vectors: shape (..., dim).
            mask: bool, shape (...) or its first dimensions: True at real positions, False at padding.
            depth: the number of stages, 1 to all; the indices then have shape (..., depth, ...). None: all, with `dropout`
                while training.

        Raises:
            ValueError: as `Quantizer.forward`, or if there are not so many stages.
        """
        self._check_vectors(vectors)
        stages = len(self.quantizers)
        if depth is not None and not 1 <= depth <= stages:
            raise ValueError(f"depth must be 1 to {stages}, the number of stages, got {depth}")
        depths = self._draw_depths(vectors) if depth is None and self.training and self.dropout else None
        if mask is None:
            return self._stages(vectors, depth or stages, depths)
        packed, real = self._pack(vectors, mask)
        depths = None if depths is None else depths.reshape(-1).index_select(0, real)
        with picked_rows(real, vectors.shape[:-1].numel()):
            result = self._stages(packed, depth or stages, depths)
        return fill_padding(result, real, vectors.shape[:-1])

    def quantize(self, vectors: Tensor) -> Quantized:
        return self._stages(vectors, len(self.quantizers), None)

    def _draw_depths(self, vectors: Tensor) -> Tensor:
        """The number of stages of each position, the same within an example."""
        examples, device = vectors.shape[:-1][:1], vectors.device
        u = uniform(examples, dtype=torch.float32, device=device, generator=rank_generator(device))
        drawn = torch.searchsorted(self.reached, u, right=True).clamp_max(len(self.quantizers) - 1) + 1
        return drawn.view(*examples, *[1] * (vectors.ndim - 1 - len(examples))).expand(vectors.shape[:-1])

    def _stages(self, vectors: Tensor, depth: int, depths: Tensor | None) -> Quantized:
        """The first `depth` stages, of each vector as many as `depths` (...) says."""
        found = self._search(vectors, depth, depths) if self.beam > 1 and self._all_started() else None
        if depths is not None:
            return self._dropped_stages(vectors, depth, depths, found)
        results: list[Quantized] = []
        total: Tensor | None = None
        rest = vectors
        for stage, quantizer in enumerate(self.parts()[:depth]):
            result, code = self._stage(quantizer, rest, None if found is None else found.select(-1, stage))
            results.append(result)
            total = self._scaled(code, stage) if total is None else total + self._scaled(code, stage)
            if stage < depth - 1:
                rest = quantizer.residual(rest, code)
        assert total is not None
        losses = [result.loss for result in results]
        return self._combine(self._with_gradient(total, vectors, losses), torch.stack(losses).sum(), results)

    def _dropped_stages(self, vectors: Tensor, depth: int, depths: Tensor, found: Tensor | None) -> Quantized:
        """The same where vectors have different depths: each stage sees those that use it."""
        shape = vectors.shape[:-1]
        number, depths = shape.numel(), depths.reshape(-1)
        found = None if found is None else found.reshape(number, depth)
        rest, rows = vectors.reshape(number, self.dim), torch.arange(number, device=vectors.device)
        results: list[Quantized] = []
        losses: list[Tensor] = []
        total: Tensor | None = None
        for stage, quantizer in enumerate(self.parts()[:depth]):
            if stage:
                kept = (depths > stage).nonzero().squeeze(1)
                rest, rows, depths = rest.index_select(0, kept), rows[kept], depths[kept]
            with picked_rows(rows, number):
                result, code = self._stage(quantizer, rest, None if found is None else found[rows, stage])
            part = self._scaled(code, stage)
            if total is None:
                total = part.clone() if self.has_commitment_loss else part
            elif self.has_commitment_loss:  # without a gradient
                total.index_add_(0, rows, part)
            else:
                total = total.index_add(0, rows, part)
            if stage < depth - 1:
                rest = quantizer.residual(rest, code)
            # a mean over all vectors, of which those without the stage have no loss
            losses.append(result.loss * (len(rows) / max(1, number)))
            results.append(_spread(result, rows if stage else None, shape))
        assert total is not None
        quantized = self._with_gradient(total.view(vectors.shape), vectors, losses)
        return self._combine(quantized, torch.stack(losses).sum(), results)

    def _stage(self, quantizer: Quantizer, rest: Tensor, indices: Tensor | None) -> tuple[Quantized, Tensor]:
        """The result of a stage, by its own look-up or by the codes of `indices`, and the code that the next ones leave out."""
        result: Quantized = quantizer(rest) if indices is None else quantizer(rest, indices=indices)
        return result, result.quantized.detach() if self.has_commitment_loss else result.quantized

    def _scaled(self, code: Tensor, stage: int) -> Tensor:
        """float32; only of grids the factor differs from 1."""
        return float32(code) * self.scales[stage] if self._is_scaled else float32(code)

    def _with_gradient(self, total: Tensor, vectors: Tensor, losses: Sequence[Tensor]) -> Tensor:
        total = total.to(vectors.dtype)
        return reaching(self.parts()[0].pass_gradient(total, vectors) if self.has_commitment_loss else total, losses)

    def _all_started(self) -> bool:
        """Whether the codes lie among the vectors; before their start, which is that of each stage's own pass, greedy."""
        return not self.training or all(
            each.started for each in self.codebooks() if isinstance(each, NearestCodeQuantizer)
        )

    def _search(self, vectors: Tensor, depth: int, depths: Tensor | None) -> Tensor:
        """The indices (..., depth) that a beam search finds."""
        stages = self.parts()[:depth]
        with torch.no_grad():
            tables = [each.decode(torch.arange(_table_size(each), device=vectors.device)) for each in stages]
            check_finite(vectors, type(self).__name__)
            found = beam_search(
                vectors.reshape(-1, self.dim), tables, self.beam, None if depths is None else depths.reshape(-1),
                [each.look_up for each in stages],  # type: ignore[misc]
            )  # fmt: skip
        return found.view(*vectors.shape[:-1], depth)

    def decode(self, indices: Tensor) -> Tensor:
        """The codes of `indices` (..., *index_shape), or of the first n stages (..., n, ...), as vectors (..., dim).

        A stage whose index is -1 adds nothing. Errors are those of `Quantizer.decode`.
        """
        stages = zip(self.parts(), self._indices_of_parts(indices), self.scales, strict=False)
        return torch.stack([quantizer.decode(index) * scale for quantizer, index, scale in stages]).sum(0)


def _shares(dropout: float | Sequence[float], stages: int) -> list[float]:
    """How many of the examples get 1, 2, ... stages."""
    if isinstance(dropout, int | float):
        if not 0 <= dropout <= 1:
            raise ValueError(f"ResidualQuantizer: dropout is a share in [0, 1], or a list of weights; got {dropout}")
        return [dropout / stages] * (stages - 1) + [1 - dropout + dropout / stages]
    weights = [float(each) for each in dropout]
    if len(weights) != stages or not all(0 <= each < math.inf for each in weights) or not sum(weights) > 0:
        raise ValueError(
            f"ResidualQuantizer: dropout as a list has a weight >= 0 for each of 1 to {stages} stages, not all 0; got {weights}"
        )
    return [each / sum(weights) for each in weights]


def _looks_up(part: Quantizer) -> bool:
    inner = part.quantizer if isinstance(part, FactorizedQuantizer) else part
    return isinstance(inner, NearestCodeQuantizer)


def _table_size(part: Quantizer) -> int:
    return next(part.codebooks()).num_codes


def _spread(result: Quantized, rows: Tensor | None, shape: torch.Size) -> Quantized:
    """The indices and logits of `rows` among all vectors: -1 and zeros elsewhere; rows None: of all of them."""

    def spread(values: Tensor, missing: int) -> Tensor:
        if rows is not None:
            whole = values.new_full((shape.numel(), *values.shape[1:]), missing)
            values = whole.index_copy(0, rows, values)
        return values.view(*shape, *values.shape[1:])

    logits = None if result.logits is None else spread(result.logits, 0)
    return result._replace(indices=spread(result.indices, PADDING), logits=logits)
