"""A classifier of lines as a judge: how surely a line belongs to a class."""

import torch
from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.functional._precision import float32
from discrete_lightning.text.judges.judge import Judge


class ClassifierJudge(Judge):
    """A small GRU classifier: embedding, GRU, the mean of its states over the line, classes. Its score is log p(class | line).

    It is made untrained; `learn` trains and freezes it.

    Args:
        vocabulary: V, of the generator's tokenizer.
        classes: number of classes, 2 or more.
        wanted: the class whose log-probability is the score.
        dim: C of the table.
        hidden_dim: of the GRU.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> lines = torch.randint(5, (64, 6))
        >>> judge = ClassifierJudge(vocabulary=5, wanted=1, dim=8, hidden_dim=8)
        >>> accuracy = judge.learn(lines, (lines[:, 0] > 2).long(), steps=100, learning_rate=0.02)
        >>> accuracy > 0.9, judge.score_tokens(lines).shape
        (True, torch.Size([64]))
    """

    def __init__(self, vocabulary: int, classes: int = 2, wanted: int = 1, dim: int = 32, hidden_dim: int = 64) -> None:
        super().__init__()
        check_at_least(1, vocabulary=vocabulary, dim=dim, hidden_dim=hidden_dim)
        check_at_least(2, classes=classes)
        if not 0 <= wanted < classes:
            raise ValueError(f"wanted is one of the {classes} classes, got {wanted}")
        self.vocabulary, self.wanted = vocabulary, wanted
        self.embedding = nn.Embedding(vocabulary, dim)
        self.gru = nn.GRU(dim, hidden_dim, batch_first=True)
        self.head = nn.Linear(hidden_dim, classes)
        super().train(False)

    def table(self) -> Tensor:
        return self.embedding.weight

    def logits(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Logits of the classes, float32 (B, classes)."""
        states = float32(self.gru(rows.to(self.embedding.weight.dtype))[0]) * mask.unsqueeze(-1)
        mean = states.sum(1) / mask.sum(1, keepdim=True)
        return nn.functional.linear(mean, float32(self.head.weight), float32(self.head.bias))

    def scores(self, rows: Tensor, mask: Tensor) -> Tensor:
        return torch.log_softmax(self.logits(rows, mask), -1)[:, self.wanted]

    def learn(
        self,
        lines: Tensor,
        labels: Tensor,
        mask: Tensor | None = None,
        *,
        steps: int = 300,
        batch: int = 64,
        learning_rate: float = 3e-3,
        generator: torch.Generator | None = None,
    ) -> float:
        """Trains it by Adam on cross-entropy, freezes it, and returns its accuracy on a tenth of the lines, held out.

        Args:
            lines: integers (N, T), N >= 10.
            labels: integers (N,).
            mask: bool (N, T), True up to the end of a line; all True by default.
            steps: of Adam.
            batch: lines a step.
            learning_rate: of Adam.
            generator: draws the batches.

        Raises:
            ValueError: if the shapes do not fit, or there are too few lines.
        """
        check_at_least(1, steps=steps, batch=batch)
        check_positive(learning_rate=learning_rate)
        if lines.ndim != 2 or labels.shape != lines.shape[:1] or len(lines) < 10:
            raise ValueError(
                "a classifier learns from 10 or more lines (N, T) and a label of each (N,), got "
                f"{tuple(lines.shape)} and {tuple(labels.shape)}"
            )
        mask = torch.ones_like(lines, dtype=torch.bool) if mask is None else mask
        order = torch.randperm(len(lines), generator=generator).to(lines.device)
        held, rest = order[: len(lines) // 10], order[len(lines) // 10 :]
        self.requires_grad_(True)
        optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)
        with torch.enable_grad():
            for _ in range(steps):
                some = rest[torch.randint(len(rest), (batch,), generator=generator).to(lines.device)]
                optimizer.zero_grad()
                nn.functional.cross_entropy(self._logits_of(lines[some], mask[some]), labels[some]).backward()
                optimizer.step()
        self.freeze()
        with torch.no_grad():
            return float((self._logits_of(lines[held], mask[held]).argmax(-1) == labels[held]).float().mean())

    def _logits_of(self, lines: Tensor, mask: Tensor) -> Tensor:
        return self.logits(self.embedding(lines) * mask.unsqueeze(-1), mask)
