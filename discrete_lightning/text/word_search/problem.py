"""Free words of a line, judged by a frozen language model: what the searches minimise, and how its evaluations are counted.

    nll(x) = -sum_t log p(x_t | prompt, x_<t)        in nats, over all tokens of the line, fixed ones included

With one-hot words x_t its derivative has two parts. The word's own term is linear, so its change is exact; that of the words
after it is first-order (HotFlip, Ebrahimi et al. 2018, https://arxiv.org/abs/1712.06751):

    change(t, v) = log p(x_t | x_<t) - log p(v | x_<t) + (e_v - e_{x_t}) . d nll / d e_{x_t}
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discrete_lightning.functional._precision import float32
from discrete_lightning.text.networks import TokenNetwork

_ROWS = 128  # lines that go through the network at a time


@dataclass(frozen=True)
class Evaluated:
    """Lines after a pass.

    Attributes:
        nll: of each line, in nats, float32 (N,).
        log_probabilities: of all words at each free position, given the words before it, float32 (N, F, V).
        change: of the line's nll when one free word is replaced, to first order, float32 (N, F, V); None without a gradient.
    """

    nll: Tensor
    log_probabilities: Tensor
    change: Tensor | None = None


class WordProblem:
    """A line of which some tokens are free, and the frozen network that judges it.

    An evaluation is one line through the network forwards, whatever part of it: a pass that draws one next word of a line
    counts as much. One line through it backwards is one more. `evaluations` counts both, and is what searches are compared
    by. What lies before the first free token is read once and not counted.

    Args:
        network: tokens to logits; used in eval(), and never changed.
        tokens: of the line, integers (T,); what stands at free positions does not matter.
        free: bool (T,), which of them are free.
        prompt: tokens before the line, integers (S,), S >= 1. They are not part of its nll.
        allowed: bool (V,), or (F, V) for each free position: the tokens that may stand there; None: all.

    Attributes:
        positions: of the free tokens, int64 (F,).
        evaluations: lines through the network so far, backward passes included.

    Raises:
        ValueError: if shapes do not fit, nothing is free, no token is allowed at a position, or the line is too long.

    Example:
        >>> from discrete_lightning.text.networks import GRUNetwork
        >>> network = GRUNetwork(vocabulary=5, dim=4, hidden_dim=8)
        >>> problem = WordProblem(network, torch.tensor([0, 0, 3]), torch.tensor([True, True, False]), torch.tensor([1]))
        >>> problem.evaluate(torch.tensor([[2, 4], [1, 1]])).nll.shape, problem.evaluations
        (torch.Size([2]), 2)
    """

    def __init__(
        self, network: TokenNetwork, tokens: Tensor, free: Tensor, prompt: Tensor, allowed: Tensor | None = None
    ) -> None:
        if tokens.ndim != 1 or tokens.shape != free.shape or free.dtype != torch.bool:
            raise ValueError(
                f"a line is tokens (T,) and free, bool (T,): got {tuple(tokens.shape)} and {free.dtype} {tuple(free.shape)}"
            )
        if not free.any():
            raise ValueError("the line has no free token: mark one, in a template by ___")
        if prompt.ndim != 1 or not len(prompt):
            raise ValueError(f"prompt is one token or more, (S,), got {tuple(prompt.shape)}")
        fixed = torch.cat([prompt, tokens[~free]])
        if int(fixed.min()) < 0 or int(fixed.max()) >= network.vocabulary:
            raise ValueError(
                f"tokens are 0 to {network.vocabulary - 1}, got {int(fixed.min())} to {int(fixed.max())}: encode the line "
                "with the tokenizer of the network"
            )
        length = len(prompt) + len(tokens)
        if network.context is not None and length > network.context:
            raise ValueError(
                f"the line and its prompt have {length} tokens, and the network takes context={network.context}: give a "
                "shorter line, or a network with a larger context"
            )
        device = network.head.weight.device
        self.network, self.evaluations = network, 0
        self.tokens, self.free = tokens.to(device, torch.int64), free.to(device)
        self.positions = self.free.nonzero().flatten()
        count = len(self.positions)
        allowed = torch.ones(network.vocabulary, dtype=torch.bool) if allowed is None else allowed
        if allowed.shape not in ((network.vocabulary,), (count, network.vocabulary)):
            raise ValueError(
                f"allowed is bool (V,) or (F, V) = {(count, network.vocabulary)}, got {tuple(allowed.shape)}"
            )
        self.allowed = allowed.to(device, torch.bool).expand(count, -1)
        none = (~self.allowed.any(-1)).nonzero().flatten().tolist()
        if none:
            raise ValueError(f"no token is allowed at free positions {none} of {count}")
        self._first = int(self.positions[0])
        self._targets = self.positions - self._first
        with torch.no_grad(), _frozen(network):
            before = torch.cat([prompt.to(self.tokens), self.tokens[: self._first]])
            logits, self._cache = network.logits(before.unsqueeze(0))
            log_p = float32(logits[0]).log_softmax(-1)
        self._next = log_p[-1:]
        given = self.tokens[: self._first]
        self._constant = -log_p[len(prompt) - 1 : -1].gather(-1, given.unsqueeze(-1)).sum()

    def lines(self, words: Tensor) -> Tensor:
        """Whole lines, int64 (N, T), of free words (N, F)."""
        lines = self.tokens.repeat(len(words), 1)
        lines[:, self.positions] = words
        return lines

    @torch.no_grad()
    def evaluate(self, words: Tensor, gradient: bool = False) -> Evaluated:
        """Judges lines: N evaluations, and with a gradient 2 N.

        Args:
            words: free words, int64 (N, F), each allowed at its position.
            gradient: whether to compute the first-order change of each replacement.
        """
        parts = [self._evaluate(part, gradient) for part in words.split(_ROWS)]
        change = torch.cat([part.change for part in parts if part.change is not None]) if gradient else None
        return Evaluated(
            torch.cat([part.nll for part in parts]), torch.cat([part.log_probabilities for part in parts]), change
        )

    def _evaluate(self, words: Tensor, gradient: bool) -> Evaluated:
        table = self.network.embedding.weight
        rest = self.lines(words)[:, self._first :]
        with torch.set_grad_enabled(gradient):
            rows = self.network.embedding.look_up(rest).detach().requires_grad_(gradient)
            log_p = self._log_probabilities(rows)
            nll = self._constant - log_p.gather(-1, rest.unsqueeze(-1)).squeeze(-1).sum(-1)
            if gradient:
                (slope,) = torch.autograd.grad(nll.sum(), rows)
        own = log_p.detach()[:, self._targets]
        if not gradient:
            return Evaluated(nll, own)
        self.evaluations += len(words)
        change = float32(slope[:, self._targets] @ table.T) - own
        return Evaluated(nll.detach(), own, change - change.gather(-1, words.unsqueeze(-1)))

    def relaxed(self, samples: Tensor) -> Tensor:
        """nll, float32 (N,), of relaxed or one-hot words (N, F, V): N evaluations, and N more in a backward pass.

        A mixture of words has the mean of their rows as its input, and the mean of their terms as its own.
        """
        rest = self.lines(self.tokens[self.positions].expand(len(samples), -1))[:, self._first :]
        rows = self.network.embedding.look_up(rest).index_copy(
            1, self._targets, (samples.to(self.network.embedding.weight.dtype) @ self.network.embedding.weight)
        )
        log_p = self._log_probabilities(rows)
        terms = log_p.gather(-1, rest.unsqueeze(-1)).squeeze(-1)
        fixed = ~self.free[self._first :]
        nll = self._constant - terms[:, fixed].sum(-1) - (float32(samples) * log_p[:, self._targets]).sum((-1, -2))
        if nll.requires_grad:
            nll.register_hook(self._count_backward)
        return nll

    def _count_backward(self, gradient: Tensor) -> None:
        self.evaluations += len(gradient)

    def _log_probabilities(self, rows: Tensor) -> Tensor:
        """Log p of all words at each position from the first free one on, float32 (N, R, V), given rows (N, R, D)."""
        self.evaluations += len(rows)
        with _frozen(self.network):
            cache = self.network.select(self._cache, self.positions.new_zeros(len(rows)))
            hidden, _ = self.network.hidden(rows, cache)
            log_p = float32(self.network.head(hidden[:, :-1])).log_softmax(-1)
        return torch.cat([self._next.expand(len(rows), 1, -1), log_p], 1)

    @torch.no_grad()
    def draw(self, count: int, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Free words drawn one after another from what the network predicts after the words before: int64 (count, F).

        The fixed words after a free one have no influence. `count` evaluations a free word but the first.
        """
        lines = self.lines(self.tokens[self.positions].expand(count, -1))
        log_p, cache = self._next.expand(count, -1), self.network.select(self._cache, self.positions.new_zeros(count))
        seen = self._first
        for number, position in enumerate(self.positions.tolist()):
            if number:
                with _frozen(self.network):
                    logits, cache = self.network.logits(lines[:, seen:position], cache)
                self.evaluations += count
                log_p, seen = float32(logits[:, -1]).log_softmax(-1), position
            masked = (log_p / temperature).masked_fill(~self.allowed[number], -torch.inf)
            lines[:, position] = torch.multinomial(masked.softmax(-1), 1, generator=generator).squeeze(1)
        return lines[:, self.positions]


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """In eval(); without cuDNN's recurrences, which have no backward pass in eval()."""
    training = network.training
    network.eval()
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        network.train(training)
