"""Semantic IDs of 5,000 items: collisions and reconstruction, beside residual k-means and another library's stack.

python -m benchmarks.vq.semantic_ids [--seeds 1 2 3] [--codes 16 64]

The items are the vectors of `ItemVectors` (5,000 digits of 784 pixels, mean square 1). 3 levels of `--codes` codes:

- ours: `ItemTokenizer` (an autoencoder with hidden layers of 256 and 128, codes of 32 dimensions), as `vq/semantic_ids`;
- ours, beam 4: the same, encoding by a beam search;
- theirs: the same with ResidualVQ of vector-quantize-pytorch==1.32, k-means start and dead-code threshold 2 (left out where it
  is not installed);
- k-means: each level the centres of 50 iterations on the residuals of the levels before it, without an autoencoder.

Same weights to start from, batches and steps for those that are trained. Reported: the share of items whose codes another
item has, too; mean squared error; the fewest live codes of a level; mean over seeds, the lowest and the highest.
"""

import argparse
import importlib.util
import statistics
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from discrete_lightning.data import ItemVectors
from discrete_lightning.models import ItemTokenizer
from discrete_lightning.nn import Quantizer, ResidualQuantizer, VectorQuantizer
from discrete_lightning.vq.functional import kmeans, nearest_code
from discrete_lightning.vq.functional.semantic_ids import colliding
from discrete_lightning.vq.quantized import Quantized

LEVELS, DIM, BATCH = 3, 32, 256
Result = tuple[float, float, float]


class Theirs(Quantizer):
    """ResidualVQ as a Quantizer."""

    def __init__(self, num_codes: int) -> None:
        from vector_quantize_pytorch import ResidualVQ

        super().__init__(DIM)
        self.index_shape = (LEVELS,)
        self.layer = ResidualVQ(
            dim=DIM, num_quantizers=LEVELS, codebook_size=num_codes, kmeans_init=True, threshold_ema_dead_code=2,
            commitment_weight=0.25,
        )  # fmt: skip

    def quantize(self, vectors: Tensor) -> Quantized:
        quantized, indices, loss = self.layer(vectors.unsqueeze(0))
        return Quantized(quantized[0], indices[0], loss.sum())


def ours(num_codes: int, beam: int = 1) -> ResidualQuantizer:
    return ResidualQuantizer(VectorQuantizer(num_codes, DIM, commitment=0.25), LEVELS, beam=beam)


MAKERS: dict[str, Callable[[int], Quantizer]] = {
    "ours": ours,
    "ours, beam 4": lambda codes: ours(codes, 4),
    "theirs": Theirs,
}


def trained(make: Callable[[int], Quantizer], vectors: Tensor, codes: int, seed: int, epochs: int) -> Result:
    torch.manual_seed(seed)
    model = ItemTokenizer(vectors.shape[1], ours(codes))  # first, so that all start from the same weights
    torch.manual_seed(seed)
    model.quantizer = make(codes)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(vectors), generator=order)[: len(vectors) // BATCH * BATCH].split(BATCH):
            output, quantized = model(vectors[rows])
            loss = (output - vectors[rows]).square().mean() + quantized.loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        output, quantized = model(vectors)
    return measured(output, vectors, quantized.indices, codes)


def centres(vectors: Tensor, codes: int, seed: int) -> Result:
    rest, indices = vectors, []
    for level in range(LEVELS):
        generator = torch.Generator().manual_seed(seed * LEVELS + level)
        table, _ = kmeans(rest, codes, iterations=50, generator=generator)
        indices.append(nearest_code(rest, table))
        rest = rest - table[indices[-1]]
    return measured(vectors - rest, vectors, torch.stack(indices, 1), codes)


def measured(output: Tensor, vectors: Tensor, indices: Tensor, codes: int) -> Result:
    live = min(len(column.unique()) for column in indices.unbind(1)) / codes
    return float(colliding(indices).float().mean()), float((output - vectors).square().mean()), live


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--codes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--epochs", type=int, default=60)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    vectors: Tensor = ItemVectors().dataset("train").tensors[0]
    print(
        f"{len(vectors):,} items, {LEVELS} levels, {arguments.epochs} epochs of batch {BATCH}, seeds {arguments.seeds}"
    )
    for codes in arguments.codes:
        results: dict[str, list[Result]] = {}
        for name, make in MAKERS.items():
            if name != "theirs" or importlib.util.find_spec("vector_quantize_pytorch") is not None:
                results[name] = [trained(make, vectors, codes, seed, arguments.epochs) for seed in arguments.seeds]
        results["k-means"] = [centres(vectors, codes, seed) for seed in arguments.seeds]
        for name, runs in results.items():
            collisions, errors, live = zip(*runs, strict=True)
            print(
                f"{codes:>4} codes  {name:<13} collisions {statistics.mean(collisions):7.2%} ({min(collisions):.2%} to "
                f"{max(collisions):.2%})   error {statistics.mean(errors):.4f} ({min(errors):.4f} to {max(errors):.4f})   "
                f"live {min(live):.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
