import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.losses import EntropyBonus, choice_entropy, marginal_distribution, marginal_entropy
from tests.references import entropy as naive
from tests.references.inputs import seeded

SURE = 100.0
LOG2 = math.log(2)


def tokens(seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return (2 * torch.randn(3, 4, 5, generator=seeded(seed))).to(dtype)


def naive_entropies(logits: Tensor) -> tuple[float, float]:
    rows = [naive.softmax(row) for row in logits.reshape(-1, logits.shape[-1]).tolist()]
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return sum(map(naive.entropy, rows)) / len(rows), naive.entropy(mean)


@pytest.mark.parametrize(
    ("logits", "choice", "marginal"),
    [
        ([[SURE, 0.0], [0.0, SURE]], 0.0, LOG2),  # sure of different things
        ([[SURE, 0.0], [SURE, 0.0]], 0.0, 0.0),  # collapsed
        ([[0.0, 0.0], [0.0, 0.0]], LOG2, LOG2),  # undecided
        ([[0.0, 0.0, -math.inf], [-math.inf, 0.0, 0.0]], LOG2, 1.5 * LOG2),  # masked: marginal (1/4, 1/2, 1/4)
        ([[-math.inf, 0.0]], 0.0, 0.0),
    ],
)
def test_the_two_senses(logits: list[list[float]], choice: float, marginal: float) -> None:
    assert choice_entropy(torch.tensor(logits)).item() == pytest.approx(choice, abs=1e-6)
    assert marginal_entropy(torch.tensor(logits)).item() == pytest.approx(marginal, abs=1e-6)


def test_the_marginal_is_over_all_tokens_and_not_only_over_the_batch() -> None:
    """Each position always takes another code: a mean over the batch alone would see no diversity."""
    logits = (SURE * torch.eye(4)).expand(3, 4, 4)
    assert marginal_entropy(logits).item() == pytest.approx(math.log(4), abs=1e-6)
    assert marginal_entropy(logits[:1]).item() == pytest.approx(math.log(4), abs=1e-6)
    over_the_batch_only = [naive_entropies(logits[:, position])[1] for position in range(4)]
    assert max(over_the_batch_only) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(3, 4, 5), (12, 5), (60, 1), (5,)])
def test_values(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    logits = tokens(dtype=dtype).flatten()[: math.prod(shape)].view(shape)
    choice, marginal = naive_entropies(logits)
    for value, expected in ((choice_entropy(logits), choice), (marginal_entropy(logits), marginal)):
        assert (value.shape, value.dtype) == (torch.Size([]), torch.float32)
        assert value.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_choices_are_never_more_uncertain_than_the_marginal() -> None:
    for seed in range(20):
        assert choice_entropy(tokens(seed)) < marginal_entropy(tokens(seed)) <= math.log(5)


@pytest.mark.parametrize("loss", [choice_entropy, marginal_entropy, EntropyBonus(0.3, 0.7)])
def test_gradcheck(loss: EntropyBonus) -> None:
    assert torch.autograd.gradcheck(loss, tokens(dtype=torch.float64)[:, :2].requires_grad_())


@pytest.mark.parametrize("loss", [choice_entropy, marginal_entropy, EntropyBonus(0.3, 0.7)])
@pytest.mark.parametrize("low", [-math.inf, -1e4])
def test_gradients_of_masked_and_of_sure_choices(loss: EntropyBonus, low: float) -> None:
    logits = torch.tensor([[low, 0.0, 1.0], [low, 3.0, 0.0], [low, 1e4, -1e4]], requires_grad=True)
    loss(logits).backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[:, 0].any()
    assert logits.grad[0].any()


@pytest.mark.parametrize(("choice", "marginal"), [(0.0, 0.0), (1.0, 0.0), (0.0, 2.0), (0.3, 0.7)])
def test_the_bonus_is_the_weighted_sum_and_lowers_the_loss(choice: float, marginal: float) -> None:
    expected = naive_entropies(tokens())
    value = EntropyBonus(choice, marginal)(tokens())
    assert value.item() == pytest.approx(-choice * expected[0] - marginal * expected[1], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", ["choice", "marginal"])
def test_descending_the_bonus_raises_its_entropy(name: str) -> None:
    bonus, logits = EntropyBonus(**{name: 1.0}), tokens().requires_grad_()
    before = bonus(logits)
    before.backward()
    assert bonus(logits - 0.1 * logits.grad) < before


def test_held_logits_get_no_gradient_of_undecided_choices() -> None:
    """Of one codebook of two: the temperature does, and the bonus for using all codes reaches both."""
    logits = torch.randn(20, 2, 5, dtype=torch.float64, requires_grad=True)
    tau = torch.full((2, 1), 0.7, dtype=torch.float64, requires_grad=True)
    held = torch.tensor([[True], [False]])
    free = torch.autograd.grad(EntropyBonus(choice=1.0, separate=1)(logits, tau), [logits, tau])
    found = torch.autograd.grad(EntropyBonus(choice=1.0, separate=1)(logits, tau, held=held), [logits, tau])
    assert not found[0][:, 0].any()
    torch.testing.assert_close(found[0][:, 1], free[0][:, 1])
    torch.testing.assert_close(found[1], free[1])
    used = EntropyBonus(marginal=1.0, separate=1)
    torch.testing.assert_close(
        *(torch.autograd.grad(used(logits, tau, held=each), [logits, tau]) for each in (held, False))
    )


def test_weights_can_be_annealed_and_are_saved() -> None:
    bonus = EntropyBonus(0.3, 0.7)
    assert isinstance(bonus.choice, LossWeight)
    assert isinstance(bonus.marginal, LossWeight)
    bonus.choice.set(0.0)
    restored = EntropyBonus()
    restored.load_state_dict(bonus.state_dict())
    assert torch.equal(restored(tokens()), bonus(tokens()))
    assert restored(tokens()).item() == pytest.approx(-0.7 * naive_entropies(tokens())[1], rel=1e-5)


@pytest.mark.parametrize("weights", [(-0.1, 0.0), (0.0, -1.0), (math.nan, 0.0), (0.0, math.inf)])
def test_bad_weights(weights: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        EntropyBonus(*weights)


@pytest.mark.parametrize("separate", [-1, 2, 5])
def test_codebooks_in_dimensions_that_are_not_there(separate: int) -> None:
    with pytest.raises(ValueError, match=rf"0 to 1 of logits \(3, 4\), got {separate}"):
        marginal_entropy(torch.zeros(3, 4), separate)


def test_masked_tokens_of_no_codebook() -> None:
    mask = torch.ones(1, dtype=torch.bool)
    assert marginal_distribution(torch.zeros(1, 0, 4), 1, mask).shape == (0, 4)
