"""Index back-propagation quantisation (Shi et al. 2024, https://arxiv.org/abs/2412.02692).

    logits_k = -sharpness |x - c_k|^2 / v,   p = softmax(logits),   quantized = (onehot(argmax p) - sg[p] + p) @ codes

v is the mean squared distance of a vector to its nearest code. The paper's logits are products x.c; those of distances keep the
choice one of the nearest code, whatever the lengths of codes.
"""

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional._checks import as_indices, check_finite
from discrete_lightning.functional._precision import float32
from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.functional.index_backpropagation import index_backpropagation
from discrete_lightning.vq.functional.nearest_code import nearest_code
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizers.measured_distance import MeasuredDistance, bounded_mean

_DECAY = 0.9  # of the counts that revival looks at


class IndexBackpropagationQuantizer(MeasuredDistance):
    """The nearest code, whose gradient goes to all codes and to the vectors through a softmax: for very large codebooks.

    Without `negatives` the gradient is that of the softmax over all codes. With them it is that of the codes near each vector,
    and of drawn ones for the others: less time on a CPU, where vectors have few dimensions of their own.
    Both are made in tiles, and memory does not grow with N K. The code is the nearest one, but for vectors of a training pass
    with `negatives` that are far from all codes: see `vq.functional.index_backpropagation`.

    Start and revival as in VectorQuantizer. With fewer vectors than codes the first batch starts what codes it can, and the
    next ones the others. Revival compares with the mean count of the codes that vectors took, each vector with its squared
    distance as weight: codes that an encoder has left behind go to where it is now. A batch with few vectors a code cannot tell
    which codes these are; so counts are averages over at least 2 vectors a code, and with 0.75 a code that was usual is moved
    once it was left out for about 0.6 vectors a code, a twentieth of an epoch of 11. Others are moved with it, to vectors
    that take them: each move keeps the code in use. A code moves by at most 0.3 sqrt(v) for each vector that chose it, on
    average: Adam would move it as far whatever its gradient, also one that is chosen once in 20 steps.

    Args:
        num_codes: K >= 2.
        dim: dimension D of vectors and codes.
        negatives: how many codes are drawn for all those that are far from a vector; None: the softmax over all codes.
        sharpness: how certain p is, > 0: of the difference of two codes' logits.
        commitment: weight of the loss that pulls vectors to their codes, >= 0.
        straight_through: weight of the gradient that passes from `quantized` to the vectors as if they were equal, beside that
            of p, >= 0; 0, as in the paper: that of p alone.
        follow: the share of the way to the mean of its vectors that a code makes after each step, in [0, 1]; see LearnedCodes.
        revive_below: a code chosen less than this share of that count is moved to a vector that codes fit badly; 0: never.
        kmeans_iterations: of the start on the first training batch; 0 keeps the random start.
        seed: of the generator for the start.

    Raises:
        ValueError: if an argument is out of range; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> quantizer = IndexBackpropagationQuantizer(num_codes=16, dim=8)
        >>> quantizer(torch.randn(100, 8)).quantized.sum().backward()
        >>> quantizer.codes.grad.shape
        torch.Size([16, 8])
    """

    _number_of_totals = 5
    _limits_steps = True
    _span = 2.0  # cells of many codes are small: an encoder leaves them in a fraction of an epoch

    def __init__(
        self,
        num_codes: int,
        dim: int,
        negatives: int | None = None,
        sharpness: float = 4.0,
        commitment: float = 1.5,
        straight_through: float = 2.0,
        follow: float = 0.1,
        revive_below: float = 0.75,
        kmeans_iterations: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(
            num_codes, dim, sharpness=sharpness, code_rate=1.0, follow=follow,
            decay=_DECAY, revive_below=revive_below, kmeans_iterations=kmeans_iterations, seed=seed,
        )  # fmt: skip
        self._check(negatives, negatives is None or negatives >= 1, "negatives", ">= 1 or None")
        self._check(commitment, commitment >= 0, "commitment", ">= 0")
        self._check(straight_through, straight_through >= 0, "straight_through", ">= 0")
        self.negatives, self.commitment, self.straight_through = negatives, commitment, straight_through

    def quantize(self, vectors: Tensor) -> Quantized:
        check_finite(vectors, type(self).__name__)
        flat = float32(vectors).reshape(-1, self.dim)
        learning = self._is_learning()
        if learning:
            self._before_pass(flat)
        table = self.codes.to(flat.dtype)
        if self.training:
            generator = None if self.negatives is None else rank_generator(flat.device, traced=False, shared=True)
            found = index_backpropagation(flat, table, self.scale, negatives=self.negatives, generator=generator)
            quantized, indices = found
        else:
            indices = nearest_code(flat, table)
            quantized = self.pass_gradient(table[indices], flat)
        chosen = table.detach()[indices]
        loss = self.commitment * commitment_loss(flat, chosen)
        if self.straight_through and self.training:
            quantized = quantized + self.straight_through * (flat - flat.detach())
        if learning and self.collects:
            quantized, loss = self._collect(quantized, loss, flat, chosen, indices)
        return Quantized(quantized.to(vectors.dtype).view(vectors.shape), indices.view(vectors.shape[:-1]), loss)

    def codes_of(self, indices: Tensor) -> Tensor:
        return nn.functional.embedding(as_indices(indices), self.codes)

    def _lengthen(self, before: Tensor, step: Tensor) -> None:
        """Shortens it instead."""
        longest = self._longest_step() * self.counts.clamp_max(1.0).unsqueeze(1)
        length = step.norm(dim=1, keepdim=True).clamp_min(1e-30)
        self.codes.copy_(before + step * (longest / length).clamp_max(1.0))

    def _totals(self, vectors: Tensor, errors: Tensor, indices: Tensor) -> Tensor:
        """Those of the distance, the errors times the counts of their codes, and the errors."""
        weighted = torch.stack([(errors * self.counts[indices]).sum(), errors.sum()])
        return torch.cat([super()._totals(vectors, errors, indices), weighted])

    def _usual_count(self, mean: Tensor, totals: Tensor) -> Tensor:
        return torch.maximum(mean, totals[3] / totals[4].clamp_min(1e-30))

    def _measured(self, vectors: Tensor, errors: Tensor) -> Tensor:
        return bounded_mean(vectors, errors.sum())
