"""Ehrlich functions (Stanton et al. 2024, https://arxiv.org/abs/2407.00236), as the package pytorch-holo defines them.

    f(x) = prod_i r(max_l q(sum_j 1[x_(l + s_ij) = m_ij] / k))    if no transition x_t -> x_(t+1) is banned, else infeasible

There are c motifs m_i of k letters with spacings s_i. Sequences with a banned transition of a Markov chain are infeasible. q
rounds down to multiples of 1/quantization, and the response is r(h) = h (1 + epistasis h (h - 1)). The optimum is 1.
"""

import math

import torch
from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least, check_not_negative
from discrete_lightning.functional._precision import without_autocast
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device
from discrete_lightning.layers.recorded import Recorded


class Ehrlich(Recorded, ConstantBuffers):
    """A closed-form test function with the difficulties of real landscapes: epistasis, infeasible regions, rare improvements.

    One-hot input gives the exact value. The gradient is that of a smooth extension: the log of the product of motif presences,
    each a soft maximum over places of the mean of the motif's letters, minus the expected number of banned transitions. (The
    log scales the gradient by 1/f, so that it does not vanish.) A search that uses this gradient is a white-box search; say so
    when you compare it with black-box methods.

    Args:
        letters: size of the alphabet (holo: num_states).
        length: of the sequences (holo: dim).
        motifs: c.
        motif_length: k.
        quantization: a divisor of k; k if None.
        epistasis: 0 for no epistasis.
        seed: of motifs, spacings and transitions. The function is that of pytorch-holo with the same `random_seed`.
        infeasible: the value of infeasible sequences: -inf as in holo, or a number such as 0.

    Raises:
        ValueError: the motifs do not fit into the sequence, or a number is out of range.

    Example:
        >>> oracle = Ehrlich(letters=8, length=16, motifs=2, motif_length=4, seed=0)
        >>> float(oracle(torch.nn.functional.one_hot(oracle.solution(), 8).T[None].float()))
        1.0
    """

    motif_letters: Tensor
    offsets: Tensor
    transitions: Tensor

    def __init__(
        self,
        letters: int = 32,
        length: int = 32,
        motifs: int = 4,
        motif_length: int = 4,
        quantization: int | None = None,
        epistasis: float = 0.0,
        seed: int = 0,
        infeasible: float = -math.inf,
    ) -> None:
        super().__init__()
        check_at_least(1, length=length, motifs=motifs)
        check_at_least(2, letters=letters, motif_length=motif_length)
        check_not_negative(epistasis=epistasis)
        quantization = motif_length if quantization is None else quantization
        if motifs * motif_length > length:
            raise ValueError(
                f"Ehrlich needs motifs * motif_length <= length, got {motifs=}, {motif_length=}, {length=}"
            )
        if quantization < 1 or motif_length % quantization:
            raise ValueError(
                f"Ehrlich: quantization must divide motif_length={motif_length}, or the optimum is not 1; got {quantization}"
            )
        self.letters, self.length, self.epistasis, self.infeasible = letters, length, epistasis, infeasible
        self.step = motif_length // quantization
        with real_device():
            generator = torch.Generator().manual_seed(seed)
            transitions = _transition_matrix(letters, generator)
            text = _markov_chain(_stationary(transitions), transitions, motifs * motif_length, generator)
            slack = (length - motifs * motif_length) // motifs
            offsets = []
            for _ in range(motifs):
                weights = torch.rand(motif_length - 1, dtype=torch.float32, generator=generator)
                gaps = 1 + (slack * (weights / weights.sum())).floor().long()
                offsets.append(torch.cat([torch.zeros(1, dtype=torch.int64), gaps.cumsum(0)]))
        self.register_constant("transitions", transitions)
        self.register_constant("motif_letters", text.view(motifs, motif_length))
        self.register_constant("offsets", torch.stack(offsets))

    def solution(self) -> Tensor:
        """An optimal sequence, int64 (length,)."""
        tokens, end = [], 0
        for letters, offsets in zip(self.motif_letters.tolist(), self.offsets.tolist(), strict=True):
            for i, letter in enumerate(letters):
                following = offsets[i + 1] if i + 1 < len(offsets) else offsets[i] + 1
                tokens += [letter] * (following - offsets[i])
            end = letters[-1]
        return torch.tensor(tokens + [end] * (self.length - len(tokens)))

    def presence(self, x: Tensor) -> Tensor:
        """The mean of each motif's letters at each place, (batch, motifs, length); -inf where the motif does not fit."""
        motifs, size = self.motif_letters.shape
        rows = x[:, self.motif_letters.flatten()].view(len(x), motifs, size, self.length)
        padded = nn.functional.pad(rows, (0, self.length), value=-torch.inf)
        place = torch.arange(self.length, device=x.device) + self.offsets.unsqueeze(-1)
        return padded.gather(-1, place.expand(len(x), -1, -1, -1)).mean(2)

    def banned(self, x: Tensor) -> Tensor:
        """The expected number of banned transitions (batch,)."""
        forbidden = (self.transitions == 0).to(x.dtype)
        return torch.einsum("bil,ij,bjl->b", x[:, :, :-1], forbidden, x[:, :, 1:])

    @without_autocast
    def forward(self, x: Tensor) -> Tensor:
        """Values (batch,) of sequences (batch, letters, length); exact for one-hot sequences.

        Raises:
            ValueError: the shape is not (batch, letters, length).
        """
        if x.ndim != 3 or x.shape[1:] != (self.letters, self.length):
            raise ValueError(
                f"this Ehrlich function takes (batch, {self.letters}, {self.length}), got {tuple(x.shape)}"
            )
        x = x.float()
        presence, banned = self.presence(x), self.banned(x)
        size = self.motif_letters.shape[1]
        with torch.no_grad():
            counts = (presence * size).round().amax(-1)
            quantized = (counts / self.step).floor() * self.step / size
            response = quantized * (1 + self.epistasis * quantized * (quantized - 1))
            value = response.prod(-1)
            value = torch.where(banned > 0.5, torch.full_like(value, self.infeasible), value)
        if not x.requires_grad:
            return value
        smooth = (presence * _SHARPNESS).logsumexp(-1) / _SHARPNESS
        surrogate = smooth.clamp_min(1e-3).log().sum(-1) - _BAN * banned
        return _WithGradientOf.apply(value, surrogate)


_SHARPNESS = 10.0
_BAN = 1.0


class _WithGradientOf(torch.autograd.Function):
    """The value of the first argument with the gradient of the second one, also where the value is infinite."""

    @staticmethod
    def forward(ctx: object, value: Tensor, surrogate: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: object, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        return None, grad_outputs[0]


def _transition_matrix(states: int, generator: torch.Generator) -> Tensor:
    """A random transition matrix with banned transitions: those outside a shuffled band. A letter may always repeat itself."""
    scores = torch.randn(states, states, dtype=torch.float32, generator=generator)
    dense = (scores / 0.5).softmax(-1)
    width = int(states * 0.4)
    # the band of holo: row i holds columns i - width ... i + width, modulo states
    apart = (torch.arange(states).unsqueeze(0) - torch.arange(states).unsqueeze(1)) % states
    band = (apart <= width) | (apart >= states - width)
    band = band[torch.randperm(states, generator=generator)] | torch.eye(states, dtype=torch.bool)
    kept = torch.where(band, dense, torch.zeros_like(dense))
    return kept / kept.sum(-1, keepdim=True)


def _stationary(transitions: Tensor) -> Tensor:
    """The stationary distribution of the transitions."""
    states = len(transitions)
    system = torch.cat([torch.eye(states, dtype=torch.float32) - transitions.T, transitions.new_ones(1, states)])
    right = transitions.new_zeros(states + 1, 1)
    right[-1] = 1
    q, r = torch.linalg.qr(system)
    return torch.linalg.solve(r, q.T @ right).squeeze(1)


def _markov_chain(first: Tensor, transitions: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    state = torch.multinomial(first, 1, replacement=True, generator=generator)
    states = [state]
    for _ in range(steps - 1):
        state = torch.multinomial(transitions[state], 1, generator=generator).squeeze(-1)
        states.append(state)
    return torch.cat(states)
