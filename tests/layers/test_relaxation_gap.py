import numpy as np
import pytest
import torch

from discrete_lightning.metrics import RelaxationGap
from tests.references.inputs import seeded


def losses(size: int, seed: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    relaxed, gap = torch.randn(2, size, generator=seeded(seed))
    return (100 + relaxed).to(dtype), (100 + relaxed + gap).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_over_updates_of_different_sizes_and_a_reset(dtype: torch.dtype) -> None:
    metric = RelaxationGap()
    for sizes in ((5, 1, 64), (7,)):
        pairs = [losses(size, seed, dtype) for seed, size in enumerate(sizes)]
        for relaxed, discrete in pairs:
            metric.update(relaxed, discrete)
        gaps = np.concatenate([(discrete.double() - relaxed.double()).numpy() for relaxed, discrete in pairs])
        assert metric.compute().dtype == torch.float32
        np.testing.assert_allclose(metric.compute(), gaps.mean(), rtol=1e-5, atol=1e-5)
        metric.reset()


def test_calling_it_gives_the_batch_and_keeps_the_epoch() -> None:
    metric = RelaxationGap()
    assert metric(torch.tensor([1.0]), torch.tensor([3.0])) == 2
    assert metric(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 1.0])) == pytest.approx(-2 / 3)
    assert metric.compute() == 0


def test_many_updates_keep_their_precision() -> None:
    """Also where the model, and so what it holds, is cast to bfloat16."""
    model = torch.nn.ModuleDict({"metric": RelaxationGap()}).to(torch.bfloat16)
    for _ in range(1000):
        model["metric"].update(torch.tensor([90.0]), torch.tensor([90.001]))
    assert model["metric"].compute().item() == pytest.approx(torch.tensor(90.001).item() - 90, rel=1e-4)


def test_losses_carry_no_gradient_into_the_metric() -> None:
    metric = RelaxationGap()
    metric.update(torch.tensor([1.0], requires_grad=True), torch.tensor([3.0], requires_grad=True))
    assert not metric.compute().requires_grad


def test_padded_positions_do_not_count() -> None:
    relaxed, discrete = (part.view(4, 5) for part in losses(20, 0))
    mask = torch.rand(4, 5, generator=seeded(1)) < 0.5
    metric = RelaxationGap()
    metric.update(torch.where(mask, relaxed, torch.nan), discrete, mask)
    np.testing.assert_allclose(metric.compute(), (discrete - relaxed)[mask].double().mean(), rtol=1e-4)
    rows = RelaxationGap()
    rows.update(relaxed, discrete, mask[:, 0])
    np.testing.assert_allclose(rows.compute(), (discrete - relaxed)[mask[:, 0]].double().mean(), rtol=1e-4)


def test_a_state_that_inference_mode_made() -> None:
    metric = RelaxationGap()
    with torch.inference_mode():
        metric.reset()
        metric.update(torch.tensor([1.0]), torch.tensor([2.0]))
    metric.update(torch.tensor([1.0]), torch.tensor([4.0]))
    assert metric.compute() == 2


@pytest.mark.parametrize(("relaxed", "discrete"), [((3,), (4,)), ((3,), ()), ((3, 1), (3,))])
def test_shapes_must_be_equal(relaxed: tuple[int, ...], discrete: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="losses of the same examples") as error:
        RelaxationGap().update(torch.zeros(relaxed), torch.zeros(discrete))
    assert str(relaxed) in str(error.value)
    assert str(discrete) in str(error.value)
