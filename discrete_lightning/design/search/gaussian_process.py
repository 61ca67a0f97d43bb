"""Gaussian process over sequences of one length (Rasmussen and Williams 2006, http://gaussianprocess.org/gpml, algorithm 2.1).

    k(x, y) = a rho^Hamming(x, y) + (1 - a) cosine(words(x), words(y))

The first part depends on positions: with rho near 1 the effects of sites nearly add up, with rho near 0 only very similar
sequences are correlated. The second part is the spectrum kernel (Leslie et al. 2002,
https://doi.org/10.1142/9789812799623_0053): it compares the counts of short words at any place, so that a motif found at one
place is recognised at all places. rho, a and the noise maximise the marginal likelihood on a grid.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_GRID = [(rho, share) for rho in (0.3, 0.5, 0.7, 0.85, 0.95) for share in (1.0, 0.6, 0.3)]
_NOISE = (1e-3, 1e-2, 1e-1)
_WORDS = (2, 3, 4, 5)
_BUCKETS = 4096  # the number of hashed counts; nearly all DNA words of up to 5 letters have a separate count


@dataclass(frozen=True)
class Hyperparameters:
    """rho and a (`share`) of the kernel, and the variance of the noise in units of the variance of the scores."""

    rho: float = 0.7
    share: float = 0.6
    noise: float = 1e-2


def features(tokens: Tensor, letters: int) -> tuple[Tensor, Tensor]:
    """The features of the two parts of the kernel for sequences (n, length): one-hot letters and normalised word counts."""
    tokens = tokens.to(_with_float64(tokens.device))
    one_hot = torch.nn.functional.one_hot(tokens, letters).flatten(1).double()
    counts = torch.zeros(len(tokens), _BUCKETS, dtype=torch.float64, device=tokens.device)
    for width in _WORDS:
        if width <= tokens.shape[1]:
            powers = torch.tensor([letters**i for i in range(width)], device=tokens.device)
            words = (tokens.unfold(1, width, 1) * powers).sum(-1)
            words = (words + width * 1_000_003) * 2_654_435_761 % 4_294_967_291 % _BUCKETS
            counts.scatter_add_(
                1, words, torch.full(words.shape, float(width), dtype=torch.float64, device=words.device)
            )
    return one_hot, counts / counts.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _with_float64(device: torch.device) -> torch.device:
    """The device, or the CPU if it is one of Apple's, which have no float64."""
    return torch.device("cpu") if device.type == "mps" else device


class GaussianProcess:
    """The posterior of the scores of all sequences, given the scores of some; float64, on the CPU if the device has none.

    Args:
        tokens: int64 (n, length).
        scores: (n,), finite; they are standardised.
        letters: of the alphabet.
        hyperparameters: of the kernel; if None, those of the largest marginal likelihood on a grid.

    Example:
        >>> tokens = torch.tensor([[0, 0], [0, 1], [1, 0]])
        >>> mean, deviation = GaussianProcess(tokens, torch.tensor([0.0, 1.0, 1.0]), letters=2).predict(tokens)
        >>> bool((mean - torch.tensor([0.0, 1.0, 1.0])).abs().max() < 0.1)
        True
    """

    def __init__(
        self, tokens: Tensor, scores: Tensor, letters: int, hyperparameters: Hyperparameters | None = None
    ) -> None:
        self.letters, self.length = letters, tokens.shape[1]
        self.one_hot, self.words = features(tokens, letters)
        y = scores.to(self.words.device).double()
        self.center, self.scale = y.mean(), y.std(correction=0).clamp_min(1e-12)
        y = (y - self.center) / self.scale
        self.hyperparameters = self._likeliest(y) if hyperparameters is None else hyperparameters
        identity = torch.eye(len(y), dtype=y.dtype, device=y.device)
        self.factor = torch.linalg.cholesky(
            self._kernel(self.one_hot, self.words) + self.hyperparameters.noise * identity
        )
        self.weights = torch.cholesky_solve(y.unsqueeze(1), self.factor).squeeze(1)

    def _likeliest(self, y: Tensor) -> Hyperparameters:
        distance = self.length - self.one_hot @ self.one_hot.T
        words = self.words @ self.words.T
        best, chosen = -math.inf, Hyperparameters()
        for rho, share in _GRID:
            # one decomposition is enough for all noise variances
            values, vectors = torch.linalg.eigh(share * rho**distance + (1 - share) * words)
            projected = (vectors.T @ y).square()
            for noise in _NOISE:
                spectrum = values.clamp_min(0) + noise
                likelihood = float(-0.5 * (projected / spectrum).sum() - 0.5 * spectrum.log().sum())
                if likelihood > best:
                    best, chosen = likelihood, Hyperparameters(rho, share, noise)
        return chosen

    def _kernel(self, one_hot: Tensor, words: Tensor) -> Tensor:
        kernel = self.hyperparameters
        near = kernel.rho ** (self.length - one_hot @ self.one_hot.T)
        return kernel.share * near + (1 - kernel.share) * (words @ self.words.T)

    def predict(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (m,) of the scores of sequences (m, length)."""
        cross = self._kernel(*features(tokens, self.letters))
        root = torch.linalg.solve_triangular(self.factor, cross.T, upper=False)
        variance = (1 - root.square().sum(0)).clamp_min(1e-12)
        return cross @ self.weights * self.scale + self.center, variance.sqrt() * self.scale

    def choose(self, tokens: Tensor, count: int, exploration: float) -> Tensor:
        """Chooses `count` of m sequences by mean + exploration * deviation, one after another.

        After each choice the deviation is updated as if the chosen sequence were evaluated; the mean is not. The deviation is
        then smaller near the chosen sequences, so that the batch is diverse (Desautels et al. 2014,
        https://jmlr.org/papers/v15/desautels14a.html).

        Returns:
            indices (count,).
        """
        one_hot, words = features(tokens, self.letters)
        kernel = self.hyperparameters
        cross = self._kernel(one_hot, words)
        mean = cross @ self.weights
        root = torch.linalg.solve_triangular(self.factor, cross.T, upper=False)
        variance = 1 - root.square().sum(0)
        columns: list[Tensor] = []
        chosen: list[int] = []
        for _ in range(min(count, len(tokens))):
            value = mean + exploration * variance.clamp_min(0).sqrt()
            value[chosen] = -torch.inf
            pick = int(value.argmax())
            chosen.append(pick)
            covariance = kernel.share * kernel.rho ** (self.length - one_hot @ one_hot[pick])
            covariance += (1 - kernel.share) * (words @ words[pick]) - root.T @ root[:, pick]
            for column in columns:
                covariance -= column * column[pick]
            columns.append(covariance / (variance[pick].clamp_min(0) + kernel.noise).sqrt())
            variance = variance - columns[-1].square()
        return torch.tensor(chosen, device=tokens.device)
