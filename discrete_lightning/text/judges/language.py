"""A language model as a judge: how likely a line is under it.

    score = 1/n sum_t log q(x_t | x_<t) = 1/n sum_t (y_t . logits_t - logsumexp(logits_t)),     n tokens in the line

y_t . logits_t = (y_t W) . h_t + y_t . b, so that the rows of [embedding | W | b] are all that is needed of the samples y_t;
the embedding is left out where it is W. The sum over the vocabulary runs in blocks.
"""

import torch
from torch import Tensor

from discrete_lightning.functional._precision import float32
from discrete_lightning.text.judges.judge import Judge
from discrete_lightning.text.networks.token_network import TokenNetwork
from discrete_lightning.text.recomputed import recomputed

_ELEMENTS = 1 << 19


class LanguageJudge(Judge):
    """The mean log-probability of a line's tokens under a frozen language model, in nats a token.

    For mixtures of tokens it is the mixture of the log-probabilities. A generator that only pleases it repeats what is likely:
    a score well above that of held-out text is an alarm, not a success.

    Args:
        network: trained, on text that the generator has not seen.
        prompt: token before each line, as when the network was trained on lines: the line end.

    Raises:
        ValueError: if the prompt is not one of its tokens.

    Example:
        >>> from discrete_lightning.text import GRUNetwork
        >>> judge = LanguageJudge(GRUNetwork(vocabulary=10, dim=8, hidden_dim=16), prompt=0)
        >>> judge.score_tokens(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1])
    """

    def __init__(self, network: TokenNetwork, prompt: int) -> None:
        super().__init__()
        if not 0 <= prompt < network.vocabulary:
            raise ValueError(f"the prompt is one of the network's {network.vocabulary} tokens, got {prompt}")
        self.network, self.prompt, self.vocabulary = network, prompt, network.vocabulary
        self.freeze()

    @property
    def _tied(self) -> bool:
        return self.network.head.weight is self.network.embedding.weight

    def table(self) -> Tensor:
        head, own = self.network.head, self.network.embedding.weight
        bias = own.new_zeros(len(own)) if head.bias is None else head.bias
        parts = [own, bias.unsqueeze(1)] if self._tied else [own, head.weight, bias.unsqueeze(1)]
        return torch.cat(parts, 1)

    def scores(self, rows: Tensor, mask: Tensor) -> Tensor:
        head, own = self.network.head, self.network.embedding.weight
        dim = own.shape[1]
        first = self.network.embedding.look_up(torch.full((len(rows), 1), self.prompt, device=rows.device))
        inputs = torch.cat([first, rows[:, :-1, :dim].to(own.dtype)], 1)
        hidden = float32(self.network.hidden(inputs)[0])
        outputs = float32(rows[..., (0 if self._tied else dim) :])
        chosen = (outputs[..., :-1] * hidden).sum(-1) + outputs[..., -1]
        bias = hidden.new_zeros(len(own)) if head.bias is None else head.bias.to(hidden.dtype)
        log_sum = _log_sum(hidden.flatten(0, 1), head.weight.to(hidden.dtype), bias)
        log_q = (chosen - log_sum.view(chosen.shape)).masked_fill(~mask, 0.0)
        return log_q.sum(1) / mask.sum(1)


def _log_sum(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Logsumexp of the logits (N,), whose matrix is never held whole."""
    step = max(1, _ELEMENTS // len(weight))
    parts = [recomputed(_of_block, part, weight, bias) for part in hidden.split(step)]
    return torch.cat(parts)


def _of_block(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.addmm(bias, hidden, weight.t()).logsumexp(-1)
