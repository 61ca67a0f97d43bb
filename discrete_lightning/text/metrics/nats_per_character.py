"""Nats per character of the raw text: the one figure in which models of different tokens can be compared.

sum of -log p(token | tokens before) / number of characters of the text, line ends included
"""

import torch
from torch import Tensor
from torchmetrics import Metric

from discrete_lightning.functional._checks import as_indices, check_floating


class NatsPerCharacter(Metric):
    """Nats of all tokens over the characters that they spell, over all updates and ranks; 0 where none counts.

    A model has such a figure only if it gives a probability to every text: one that replaces rare words by a sign does not.
    Over log 2 it is bits per character.

    Example:
        >>> metric = NatsPerCharacter()
        >>> metric.update(torch.tensor([2.0, 4.0]), characters=4)  # two tokens that spell four characters
        >>> metric.compute()
        tensor(1.5000)
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = False
    nats: Tensor
    lost: Tensor
    characters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nats", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("lost", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("characters", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, nats: Tensor, characters: int | Tensor) -> None:
        """Adds tokens.

        Args:
            nats: -log p of each token, or sums of them: any shape, floating.
            characters: of the text that the tokens spell: a number, or integers that are summed.

        Raises:
            ValueError: if `nats` are not floating, or `characters` not integers.
        """
        check_floating(nats, "nats")
        counted = torch.as_tensor(characters, device=self.characters.device)
        # Kahan summation: not every device has float64, and a float32 sum forgets small terms after many updates
        term = nats.detach().float().sum() - self.lost
        total = self.nats + term
        self.lost = (total - self.nats) - term
        self.nats = total
        # a new tensor: a state that inference mode made (validate before fit) must not be changed in place
        self.characters = self.characters + as_indices(counted, "characters").sum()

    def compute(self) -> Tensor:
        return (self.nats - self.lost) / self.characters.clamp_min(1)
