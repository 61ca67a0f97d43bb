"""Codes that are parameters, with a rate of their own."""

from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import all_gather_equal, world_size
from discrete_lightning.layers.float32 import check_whole
from discrete_lightning.vq.quantizers.code_window import CodeWindow
from discrete_lightning.vq.quantizers.started_codebook import StartedCodebook


class LearnedCodes(StartedCodebook):
    """Base of the codebooks whose codes an optimiser trains.

    An optimiser such as Adam moves each number by about its learning rate a step, whatever the gradient. That is much for a
    weight and little for a code: the vectors that an encoder gives are sums of many weights, and codes that lag behind them die.
    So after each step of the optimiser the codes go on in the direction of that step, to `code_rate` times its length:

        c <- c_before + code_rate * (c_after - c_before)

    With Adam it is the same as a learning rate of the codes that is `code_rate` times that of the rest.

    Args:
        num_codes: K >= 2.
        dim: dimension D of vectors and codes.
        code_rate: how many times the optimiser's step a code makes, >= 1.
        start: the arguments of StartedCodebook.
    """

    codes: nn.Parameter
    written_parameters = ("codes",)

    def __init__(self, num_codes: int, dim: int, *, code_rate: float, **start: Any) -> None:
        super().__init__(num_codes, dim, **start)
        self._check(code_rate, code_rate >= 1, "code_rate", ">= 1")
        self.code_rate = code_rate
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
        if self._window is None and self.code_rate > 1:
            self._before = self.codes.detach().clone()

    @torch.no_grad()
    def _apply_window(self, window: CodeWindow | None) -> None:
        if self.kmeans_iterations or self.revive_below or self.code_rate > 1:
            advice = "leave it out (ignored_params of fully_shard), or give kmeans_iterations=0, revive_below=0 and code_rate=1"
            check_whole(self.codes, (self.num_codes, self.dim), f"{type(self).__name__}.codes", advice)
        if self.code_rate > 1:
            self._go_on()
        super()._apply_window(window)
        if self.code_rate > 1:
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
            self.codes.add_(self.codes - before, alpha=self.code_rate - 1)
