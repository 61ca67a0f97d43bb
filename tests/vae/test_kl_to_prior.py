import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.losses import KLToPrior, kl_to_prior
from tests.references import entropy as naive
from tests.references.inputs import seeded

PRIOR = torch.tensor([0.5, -1.0, 0.0])


def latents(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded(0))


def naive_kl(logits: Tensor, prior: Tensor | None) -> list[float]:
    q = naive.softmax([0.0] * logits.shape[-1] if prior is None else prior.tolist())
    return [sum(naive.kl(naive.softmax(row), q) for row in x.reshape(-1, len(q)).tolist()) for x in logits]


@pytest.mark.parametrize("prior", [None, PRIOR, torch.zeros(3)], ids=["default", "given", "uniform"])
@pytest.mark.parametrize("shape", [(2, 3), (4, 5, 3), (2, 4, 5, 3), (0, 5, 3), (1, 3)])
def test_categorical(shape: tuple[int, ...], prior: Tensor | None) -> None:
    value = kl_to_prior(latents(*shape), prior)
    assert (value.shape, value.dtype) == (torch.Size(shape[:1]), torch.float32)
    torch.testing.assert_close(value, torch.tensor(naive_kl(latents(*shape), prior)))


@pytest.mark.parametrize("shape", [(2,), (4, 5), (2, 3, 4), (0, 5)])
def test_bernoulli(shape: tuple[int, ...]) -> None:
    rows = latents(*shape).reshape(shape[0], math.prod(shape[1:])).tolist()
    expected = [sum(naive.kl([naive.sigmoid(x), naive.sigmoid(-x)], [0.5, 0.5]) for x in row) for row in rows]
    torch.testing.assert_close(kl_to_prior(latents(*shape), binary=True), torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_a_prior_of_each_latent() -> None:
    logits, prior = latents(4, 2, 3), latents(2, 3) * 2
    by_latent = [kl_to_prior(logits[:, i], prior[i]) for i in range(2)]
    torch.testing.assert_close(kl_to_prior(logits, prior), by_latent[0] + by_latent[1])


def test_a_prior_that_excludes_what_the_posterior_allows() -> None:
    prior = torch.tensor([-math.inf, 0.0, 0.0])
    values = kl_to_prior(torch.tensor([[0.0, 0.0, 0.0], [-math.inf, 0.0, 0.0]]), prior)
    assert values[0] == math.inf
    assert values[1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("binary", [False, True])
def test_half_precision_is_computed_in_float32(binary: bool, dtype: torch.dtype) -> None:
    logits = latents(4, 20, 10).to(dtype)
    assert kl_to_prior(logits, binary=binary).dtype == torch.float32
    assert torch.equal(kl_to_prior(logits, binary=binary), kl_to_prior(logits.float(), binary=binary))


@pytest.mark.parametrize("prior", [None, PRIOR])
def test_gradcheck(prior: Tensor | None) -> None:
    prior = None if prior is None else prior.double()
    assert torch.autograd.gradcheck(lambda x: kl_to_prior(x, prior), latents(2, 4, 3).double().requires_grad_())


def test_bernoulli_latents_take_no_prior() -> None:
    with pytest.raises(ValueError, match="leave prior_logits out"):
        kl_to_prior(latents(2, 3), PRIOR, binary=True)


@pytest.mark.parametrize("prior", [None, PRIOR])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_module_weighs_the_mean_over_the_batch(weight: float, prior: Tensor | None) -> None:
    values = naive_kl(latents(4, 5, 3), prior)
    loss = KLToPrior(weight, prior)(latents(4, 5, 3))
    assert loss.item() == pytest.approx(weight * sum(values) / 4, rel=1e-5)


def test_the_weight_can_be_annealed_and_the_prior_is_saved() -> None:
    loss, restored = KLToPrior(1.0, PRIOR), KLToPrior(1.0, torch.zeros(3))
    assert isinstance(loss.weight, LossWeight)
    loss.weight.set(0.25)
    restored.load_state_dict(loss.state_dict())
    assert torch.equal(restored(latents(4, 5, 3)), loss(latents(4, 5, 3)))
    with pytest.raises(ValueError, match="must not be negative"):
        KLToPrior(-1.0)


@pytest.mark.parametrize(
    "prior", [None, PRIOR, torch.tensor([-math.inf, 0.0, 0.0])], ids=["uniform", "given", "infinite"]
)
def test_latents_of_padding_add_nothing(prior: Tensor | None) -> None:
    mask = torch.tensor([[True, True, False], [False, False, False], [True, False, False]])
    logits = latents(3, 3, 3)
    if prior is not None and prior.isinf().any():
        logits[..., 0] = -math.inf  # what the prior excludes; at padding the divergence is infinite
    masked = logits.masked_fill(~mask.unsqueeze(-1), math.nan).requires_grad_()
    values = kl_to_prior(masked, prior, mask=mask)
    alone = [kl_to_prior(logits[i : i + 1, mask[i]], prior) if mask[i].any() else torch.zeros(1) for i in range(3)]
    torch.testing.assert_close(values, torch.cat(alone))
    torch.testing.assert_close(KLToPrior(0.5, prior)(masked, mask), 0.5 * values.sum() / 2)  # two examples are real
    values.sum().backward()
    assert not masked.grad[~mask].any()
    assert masked.grad.isfinite().all()
    assert KLToPrior(1.0, prior)(masked, mask & False) == 0
    assert KLToPrior(1.0, prior)(logits[:0], mask[:0]) == 0
    assert KLToPrior()(logits[:, 0], mask[:, 0]) > 0  # one latent each


def test_bernoulli_latents_of_padding_add_nothing() -> None:
    logits, whole = latents(3, 4), torch.tensor([True, False, True])
    expected = kl_to_prior(logits, binary=True) * whole
    logits[1] = math.nan
    assert torch.equal(kl_to_prior(logits, binary=True, mask=whole), expected)
    mask = torch.arange(4) < torch.tensor([[2], [0], [4]])
    torch.testing.assert_close(
        kl_to_prior(logits, binary=True, mask=mask)[0], kl_to_prior(logits[:1, :2], binary=True)[0]
    )


def test_a_batch_without_examples_adds_nothing() -> None:
    assert KLToPrior()(latents(0, 5, 3)) == 0
