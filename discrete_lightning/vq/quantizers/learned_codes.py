"""Codes that are parameters, and move at a rate of their own."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import all_gather_equal, world_size
from discrete_lightning.layers.float32 import check_whole
from discrete_lightning.vq.quantizers.code_window import CodeWindow
from discrete_lightning.vq.quantizers.started_codebook import StartedCodebook


class LearnedCodes(StartedCodebook):
    """Base of the codebooks whose codes an optimiser trains.

    An optimiser's step alone does not fit codes. Adam moves each number by about its learning rate, whatever the gradient: much
    for a weight and little for a code, since vectors are sums of many weights, and codes that lag behind them die. Two things
    are added after each step, at any learning rate and with any optimiser:

    - the codes go on in the direction of the step, to `code_rate` times its length: c <- c_before + code_rate (c - c_before).
      With Adam it is the same as a learning rate of the codes that is `code_rate` times that of the rest;
    - they follow the vectors that chose them: c_k <- c_k + min(1, follow n_k / N_k) (m_k - c_k), where m_k is the mean of the
      n_k vectors that chose code k, and N_k the moving average of n_k. It is a part of a Newton step on n_k |c_k - m_k|^2, the
      code's share of the codebook loss (van den Oord et al. 2017, eq. 3; https://arxiv.org/abs/1711.00937).

    Where a step has fewer than about 0.4 vectors a code, counts are averages over more steps, over 3.7 vectors a code: one of
    262,144 codes would count as dead before its turn comes. `follow` is then smaller by the same factor.

    Args:
        num_codes: K >= 2.
        dim: dimension D of vectors and codes.
        code_rate: how many times the optimiser's step a code makes, >= 1.
        follow: the share of the way to the mean of its vectors that a code then makes, in [0, 1].
        start: the arguments of StartedCodebook.
    """

    codes: nn.Parameter
    _limits_steps: ClassVar[bool] = False  # whether the optimiser's step is made shorter
    # vectors a code that its count is an average over, at least: of 3.7, one chosen at random lives with 97 %
    _span: ClassVar[float] = 3.7
    written_parameters: ClassVar[tuple[str, ...]] = ("codes",)

    def __init__(self, num_codes: int, dim: int, *, code_rate: float, follow: float, **start: Any) -> None:
        super().__init__(num_codes, dim, **start)
        self._check(code_rate, code_rate >= 1, "code_rate", ">= 1")
        self._check(follow, 0 <= follow <= 1, "follow", "in [0, 1]")
        self.code_rate, self.follow = code_rate, follow
        self.codes = nn.Parameter(self._initial_codes())
        self._before: Tensor | None = None  # the codes before the optimiser's step
        self._is_before_common = False  # whether all ranks have them
        self._remember_drawn()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_before": None, "_is_before_common": False}

    def drop_pending(self) -> None:
        super().drop_pending()
        self._before, self._is_before_common = None, False

    def _switch(self) -> Tensor:
        return self.codes

    @torch.compiler.disable
    def _before_pass(self, vectors: Tensor) -> None:
        super()._before_pass(vectors)
        if self._window is None and self._has_own_step:
            self._before = self.codes.detach().clone()

    @torch.no_grad()
    def _apply_window(self, window: CodeWindow | None) -> None:
        writes = {"kmeans_iterations": 0, "revive_below": 0, "code_rate": 1, "follow": 0}
        given = [f"{name}={none}" for name, none in writes.items() if getattr(self, name) != none]
        if given or self._has_own_step:
            advice = "leave it out (ignored_params of fully_shard)"
            if not self._limits_steps:
                advice += f", or give {', '.join(given)}"
            check_whole(self.codes, (self.num_codes, self.dim), f"{type(self).__name__}.codes", advice)
        if self._has_own_step:
            self._go_on()
        super()._apply_window(window)
        if self._has_own_step:
            self._before = self.codes.detach().clone()  # for a rank that has no pass before the next step

    def _go_on(self) -> None:
        """Lengthens the optimiser's step. All ranks call it together."""
        before = self._before
        if world_size() > 1 and not self._is_before_common:  # a rank may have had no pass since training began
            here = torch.tensor(float(before is not None), device=self.codes.device)
            self._is_before_common = True
            if not all_gather_equal(here).amin().item():
                return
        if before is not None:
            self._lengthen(before, self.codes - before)

    @property
    def _has_own_step(self) -> bool:
        """Whether the optimiser's step is changed after it."""
        return self._limits_steps or self.code_rate > 1

    def _lengthen(self, before: Tensor, step: Tensor) -> None:
        """Makes the step longer that led from the codes `before` to those of now."""
        further = (self.code_rate - 1) * step
        length = further.norm(dim=1, keepdim=True).clamp_min(1e-30)
        self.codes.add_(further * (self._longest_step() / length).clamp_max(1.0))

    def _longest_step(self) -> Tensor:
        """How far a code may go on, 0-dim."""
        return self.codes.new_full((), torch.inf)

    def _decay_of(self, counts: Tensor) -> Tensor:
        return (1 - counts.sum() / (self._span * self.num_codes)).clamp_min(self.decay)

    def _follow(self, counts: Tensor, sums: Tensor, totals: Tensor, valid: Tensor) -> None:
        if not self.follow:
            return
        follow = self.follow * (1 - self._decay_of(counts)) / (1 - self.decay)
        share = (follow * counts / self.counts.clamp_min(1e-30)).clamp_max(1.0)
        means = sums / counts.clamp_min(1.0).unsqueeze(1)
        moved = torch.lerp(self.codes, means, share.unsqueeze(1))  # no share where no vector chose the code
        self.codes.copy_(torch.where(valid, moved, self.codes))
