import pytest
import torch
from torch.utils.data import DataLoader

from discrete_lightning.data.dataset import as_is
from discrete_lightning.data.windows import TextWindows


@pytest.mark.parametrize(
    ("tokens", "context", "windows"), [(0, 3, 0), (1, 3, 0), (3, 3, 0), (4, 3, 1), (10, 3, 3), (11, 1, 10)]
)
def test_windows_follow_one_another(tokens: int, context: int, windows: int) -> None:
    data = TextWindows(torch.arange(tokens, dtype=torch.uint8), context)
    assert len(data) == windows
    served = [data[i] for i in range(len(data))]
    assert [each for inputs, _ in served for each in inputs.tolist()] == list(range(windows * context))
    assert all(torch.equal(targets, inputs + 1) for inputs, targets in served)


def test_a_batch_is_read_at_once_as_int64() -> None:
    data = TextWindows(torch.arange(50, dtype=torch.uint8), 4)
    inputs, targets = next(iter(DataLoader(data, batch_size=3, collate_fn=as_is)))
    assert inputs.shape == targets.shape == (3, 4)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(inputs[2], data[2][0])


@pytest.mark.parametrize("index", [-1, 3])
def test_a_window_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError, match=f"window {index} of 3"):
        TextWindows(torch.arange(10), 3)[index]
