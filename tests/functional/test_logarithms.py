import pytest
import torch

from discrete_lightning.functional import _logarithms
from discrete_lightning.functional._logarithms import log1p_, log_


@pytest.mark.parametrize("by_numpy", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logarithms_are_exact_to_a_few_units_in_the_last_place(
    by_numpy: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_logarithms, "_BY_NUMPY", by_numpy)
    x = torch.cat([torch.logspace(-38, 38, 10_001), torch.linspace(0.9, 1.1, 10_001)]).to(dtype)
    u = -torch.cat([torch.logspace(-12, -1e-3, 10_001), 1 - torch.logspace(-7, -1, 1001)]).to(dtype)
    tolerance = 4 * torch.finfo(dtype).eps
    for in_place, inputs, expected in ((log_, x, x.double().log()), (log1p_, u, u.double().log1p())):
        found = inputs.clone()
        assert in_place(found) is found
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=0)
    ends = log_(torch.tensor([torch.inf, 1.0], dtype=dtype))
    assert ends.tolist() == [torch.inf, 0.0]
