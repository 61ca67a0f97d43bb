import pytest
import torch

from discrete_lightning.functional import leave_one_out
from tests.references import estimators as reference
from tests.references.inputs import seeded


@pytest.mark.parametrize("samples", [2, 3, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_value_and_gradient(samples: int, dtype: torch.dtype) -> None:
    logits = torch.randn(6, 4, generator=seeded(1), dtype=dtype, requires_grad=True)
    index = torch.randint(4, (samples, 6), generator=seeded(2))
    losses = torch.randn(samples, 6, generator=seeded(3), dtype=dtype)
    one_hot = torch.nn.functional.one_hot(index, 4)
    result = leave_one_out(losses, (one_hot * logits.log_softmax(-1)).sum(-1))
    assert result.dtype == dtype
    torch.testing.assert_close(result, losses.mean(0))
    result.sum().backward()
    scores = one_hot - logits.detach().softmax(-1)
    exact = [reference.leave_one_out(losses[:, row].tolist(), scores[:, row].tolist()) for row in range(6)]
    torch.testing.assert_close(logits.grad.double(), torch.tensor(exact, dtype=torch.float64), rtol=1e-5, atol=1e-6)


def test_the_losses_get_the_gradient_of_their_mean() -> None:
    losses = torch.randn(4, 3, generator=seeded(4), requires_grad=True)
    log_p = torch.randn(4, 3, generator=seeded(5), requires_grad=True)
    leave_one_out(losses, log_p).sum().backward()
    assert torch.equal(losses.grad, torch.full((4, 3), 0.25))
    assert log_p.grad.any()


def test_a_constant_loss_gives_no_gradient() -> None:
    log_p = torch.randn(4, 3, generator=seeded(6), requires_grad=True)
    leave_one_out(torch.full((4, 3), 7.25), log_p).sum().backward()
    assert not log_p.grad.any()


@pytest.mark.parametrize(("losses", "log_p"), [((1, 3), (1, 3)), ((2, 3), (2, 4)), ((2, 3), (2,)), ((0, 3), (0, 3))])
def test_two_samples_of_one_shape(losses: tuple[int, ...], log_p: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two or more samples"):
        leave_one_out(torch.zeros(losses), torch.zeros(log_p))
