"""What a codebook chose, for `ChoiceMonitor`: the codes."""

from collections.abc import Mapping
from typing import Any

from discrete_lightning.layers.choices import Choices, choices_made
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Codebook


@choices_made.register
def _(layer: Codebook, inputs: Mapping[str, Any], output: Quantized) -> Choices | None:
    if not layer.countable:
        return None
    return Choices(output.indices.detach().unsqueeze(-1), layer.num_codes, output.logits, inputs.get("mask"))
