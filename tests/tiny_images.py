"""A made-up image set of 96 training images, and a search on it that takes milliseconds a step."""

from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from discrete_lightning.data import ImageDataModule, SearchSplit
from discrete_lightning.data.splits import Split
from discrete_lightning.models import ArchitectureSearch, SearchOptimizers
from discrete_lightning.nn import NASBench201

SPACE = NASBench201(channels=2, nodes=3, stages=1, stem_stride=4)
FAST = SearchOptimizers(architecture_learning_rate=0.1)


class TinyImages(ImageDataModule):
    """Bright and dark images of ten classes."""

    def load(self) -> dict[Split, tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        result: dict[Split, tuple[Tensor, Tensor]] = {}
        splits: list[tuple[Split, int]] = [("train", 96), ("validation", 24), ("test", 24)]
        for split, count in splits:
            labels = torch.arange(count) % 10
            noise = torch.randint(0, 60, (count, 28, 28), generator=generator)
            result[split] = ((noise + 19 * labels.view(-1, 1, 1)).byte(), labels)
        return result


def tiny_search(method: Any = None, **arguments: Any) -> ArchitectureSearch:
    seed_everything(3, verbose=False)
    return ArchitectureSearch(method, **({"space": SPACE, "optimizers": FAST} | arguments))


def tiny_split(batch_size: int = 8) -> SearchSplit:
    return SearchSplit(TinyImages(), batch_size=batch_size)


def quiet_trainer(**arguments: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(**(defaults | arguments))
