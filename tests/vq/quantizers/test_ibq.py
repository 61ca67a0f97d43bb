"""IndexBackpropagationQuantizer: more codes than vectors come to life, and steps of rarely chosen codes stay short."""

import pytest
import torch
from torch import nn

from discrete_lightning.nn import IndexBackpropagationQuantizer
from tests.vq.quantizers.makers import some_vectors

CODES = 2000


def trained(steps: int = 60, negatives: int | None = 64, drift: float = 0.0) -> IndexBackpropagationQuantizer:
    """On batches of 200 vectors of an encoder that moves."""
    torch.manual_seed(0)
    quantizer = IndexBackpropagationQuantizer(CODES, 6, negatives=negatives)
    scale = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.Adam([scale, *quantizer.parameters()], lr=1e-3)
    for step in range(steps):
        result = quantizer(scale * some_vectors(200, 6, seed=step) + drift * min(step, 10))
        (result.quantized.square().mean() + result.loss).backward()
        optimizer.step()
        optimizer.zero_grad()
    return quantizer.eval()


def live(quantizer: IndexBackpropagationQuantizer, drift: float = 0.0) -> float:
    """The share of codes that are the nearest one of 11 vectors a code."""
    vectors = torch.cat([some_vectors(200, 6, seed=step) for step in range(110)])
    return len(quantizer(vectors + 10 * drift).indices.unique()) / CODES


@pytest.mark.parametrize("negatives", [None, 64])
def test_ten_times_as_many_codes_as_vectors_of_a_batch_live(negatives: int | None) -> None:
    assert live(trained(negatives=negatives)) > 0.95


def test_codes_follow_an_encoder_that_runs_away_from_all_of_them() -> None:
    assert live(trained(drift=2.0), drift=2.0) > 0.8


def test_a_code_without_vectors_is_moved_after_less_than_one_vector_a_code() -> None:
    quantizer = IndexBackpropagationQuantizer(CODES, 6)
    codes = some_vectors(CODES, 6)
    codes[7] = 1000.0
    quantizer.set_codes(codes)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.0)
    for step in range(8):  # 0.8 vectors a code
        quantizer(some_vectors(200, 6, seed=step).requires_grad_()).loss.backward()
        optimizer.step()
    assert quantizer.codes.detach()[7].abs().max() < 100.0
    assert quantizer.counts.amin() > 0


def test_a_code_that_no_vector_chooses_is_not_moved_by_the_optimiser() -> None:
    quantizer = IndexBackpropagationQuantizer(4, 2, kmeans_iterations=0, revive_below=0.0, follow=0.0)
    quantizer.codes.data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    quantizer.set_codes(quantizer.codes.detach())
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.5)
    vectors = torch.rand(400, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for _ in range(40):
        before = quantizer.codes.detach().clone()
        quantizer(vectors).quantized.square().sum().backward()
        optimizer.step()
        longest = 0.3 * float(quantizer.nearest_distance) ** 0.5
        assert (quantizer.codes.detach() - before).norm(dim=1).max() <= 1.2 * longest  # v moves in the same update
        optimizer.zero_grad()
    assert quantizer.counts[3] < 0.02 * quantizer.counts.sum()
    before = quantizer.codes.detach().clone()
    quantizer(vectors).quantized.square().sum().backward()
    optimizer.step()
    assert (quantizer.codes.detach() - before)[3].norm() <= 0.3 * float(quantizer.nearest_distance) ** 0.5 * 1.0


def test_the_drawn_codes_are_those_of_the_generator_and_evaluation_draws_nothing() -> None:
    quantizer = trained(steps=2)
    vectors = some_vectors(50, 6).requires_grad_()
    state = torch.get_rng_state()
    quantizer(vectors)
    assert torch.equal(torch.get_rng_state(), state)
    quantizer.train()
    gradients = []
    for _ in range(2):
        torch.manual_seed(3)
        gradients.append(torch.autograd.grad(quantizer(vectors).quantized.square().sum(), vectors)[0])
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"negatives": 0}, "negatives must be >= 1 or None, got 0"), ({"sharpness": 0.0}, "sharpness must be > 0, got 0.0"),
     ({"commitment": -1.0}, "commitment must be >= 0"), ({"straight_through": -1.0}, "straight_through must be >= 0")],
)  # fmt: skip
def test_arguments_out_of_range(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IndexBackpropagationQuantizer(8, 2, **arguments)  # type: ignore[arg-type]
