"""A codebook that is changed by what its passes collected, once after each step of its optimiser (`layers.updated_layer`)."""

from typing import Any, ClassVar

from torch import Tensor

from discrete_lightning.layers.reaching import reaching
from discrete_lightning.layers.updated_layer import UpdatedLayer
from discrete_lightning.vq.quantizers.code_table import CodeTable
from discrete_lightning.vq.quantizers.code_window import CodeBatch, CodeWindow


class UpdatedCodebook(UpdatedLayer, CodeTable):
    """A codebook whose codes, or their statistics, are changed after each step of an optimiser, by what passes collected.

    All passes between two steps of the codebook's optimiser count as one batch, which is applied once, after the step. That
    optimiser is the one that holds the codebook's parameter, or else the nearest one before it; no other one matters.

    - In one process the codebook finds that optimiser by itself. On several ranks, and where there is none (vectors of a
      frozen network, and an optimiser without the codebook's parameter), the callback `CodebookUpdates`, which every Lightning
      Trainer has by itself, calls `update()` after the step; a loop of your own calls
      `update_codebooks_after_step(model, optimizer)` once before it. You can also call `update()` yourself after each step. A
      warning says so where it is needed.
    - A pass counts once its backward pass reaches the output. One whose vectors need no gradient counts at once, unless between
      the same steps there is one with a gradient: then it is another network's turn, a discriminator's for instance. A pass
      under `no_grad`, and one that activation checkpointing repeats, does not count.
    - A frozen codebook collects nothing, and what was collected before its freeze and waits for a step is dropped.
    - All ranks join each update, also one whose batch was empty or did not reach the layer.
    - A copy (`copy.deepcopy`) starts with nothing collected and does not act on the original.

    Subclasses define `_apply_window`, `_most_candidates` and `_switch`.
    """

    window_type = CodeWindow
    updated_state: ClassVar[str] = "codes are"
    trained_before: ClassVar[str] = "what it quantises"
    update_calls: ClassVar[tuple[str, str]] = (
        "call quantizer.update() after each step, or update_codebooks_after_step(model, optimizer) once",
        "call update_codebooks_after_step(model, optimizer) once before the loop, or in Lightning give the Trainer the "
        "callback CodebookUpdates()",
    )

    def _counting(self, quantized: Tensor, loss: Tensor, batch: CodeBatch) -> tuple[Tensor, Tensor]:
        """The outputs of a pass, from which its backward pass counts `batch`."""
        # new tensors, which belong to this layer; its parameter is used in each pass, as DistributedDataParallel asks
        quantized, loss = (reaching(each, [self._switch()]) for each in (quantized, loss))
        self._look_for_owners(loss)
        self._began_pass()

        def count(_: Tensor | None) -> None:
            if not (batch.counted or self.frozen):
                batch.counted = True
                self._add(batch, batch.free)

        # Counting in the backward pass makes a recomputed forward (activation checkpointing) add nothing. The hooks are on the
        # outputs: in a compiled graph the gradient goes from the outputs to the graph's inputs and meets nothing between them.
        if batch.free:
            count(None)
            return quantized, loss
        for each in (quantized, loss):
            if each.requires_grad:
                each.register_hook(count)
        return quantized, loss

    def _new_window(self, batch: Any) -> CodeWindow:
        return CodeWindow(batch, self._most_candidates())

    def _most_candidates(self) -> int:
        """How many vectors a window keeps."""
        raise NotImplementedError
