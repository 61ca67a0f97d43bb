"""A naive reference of VectorQuantizer's updates: the references of one vector at a time, averaged in float64."""

from torch import Tensor

from tests.references.codebook import nearest, statistics


class MovingCodes:
    """Codes that are moving averages: `step` takes the vectors of all batches and ranks since the last step."""

    def __init__(self, codes: Tensor, counts: Tensor, sums: Tensor, decay: float) -> None:
        self.codes, self.counts, self.sums = codes.double(), counts.double(), sums.double()
        self.decay = decay

    def step(self, vectors: Tensor) -> None:
        vectors = vectors.detach().double().reshape(-1, self.codes.shape[1])
        counts, sums = statistics(vectors, nearest(vectors, self.codes), len(self.codes))
        self.counts = self.decay * self.counts + (1 - self.decay) * counts
        self.sums = self.decay * self.sums + (1 - self.decay) * sums
        for k in range(len(self.codes)):
            if self.counts[k] > 1e-5:
                self.codes[k] = self.sums[k] / self.counts[k]
