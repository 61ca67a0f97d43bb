"""CategoricalVAE and BernoulliVAE: the bound against exact enumeration, the loss, all estimators, bad arguments."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from discrete_lightning import estimators
from discrete_lightning.estimators import Estimator
from discrete_lightning.models import BernoulliVAE, CategoricalVAE, DiscreteVAE
from discrete_lightning.nn import RelaxedCategorical

EVERY = [getattr(estimators, name)() for name in estimators.__all__ if name != "Estimator"]
PAIRS = [
    (kind, each)
    for each in EVERY
    for kind in (CategoricalVAE, BernoulliVAE)
    if each.categorical or kind is BernoulliVAE
]


def small(kind: type[DiscreteVAE], **arguments: object) -> DiscreteVAE:
    torch.manual_seed(0)
    latents = {"latents": 3, "categories": 4} if kind is CategoricalVAE else {"latents": 6}
    return kind(**latents, hidden=[8], pixels=16, **arguments)  # type: ignore[arg-type]


def every_latent(model: DiscreteVAE) -> Tensor:
    """All values of the latent, as samples (N, *event)."""
    if isinstance(model, CategoricalVAE):
        latents, categories = model.event
        index = torch.tensor(list(itertools.product(range(categories), repeat=latents)))
        return torch.nn.functional.one_hot(index, categories).float()
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=model.event[0])))


def exact(model: DiscreteVAE, image: Tensor) -> tuple[float, float]:
    """-log p(x) and the negative ELBO of one image, by enumeration in float64."""
    samples = every_latent(model)
    logits = model.logits(image)
    log_prior = -math.log(len(samples))
    negative = -model.negative_log_likelihood(samples.unsqueeze(1), image).squeeze(1).double()
    log_q = log_prior - model.log_ratio(samples.unsqueeze(1), logits).squeeze(1).double()
    assert log_q.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    likelihood = torch.logsumexp(negative + log_prior, 0)
    elbo = (log_q.exp() * (negative + log_prior - log_q)).sum()
    return -likelihood.item(), -elbo.item()


@pytest.mark.parametrize("kind", [CategoricalVAE, BernoulliVAE])
def test_bound_brackets_the_likelihood(kind: type[DiscreteVAE]) -> None:
    model = small(kind).eval()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(3)  # posteriors far from the prior, so that the bounds differ
        image = torch.rand(1, 1, 4, 4).round()
        likelihood, elbo = exact(model, image)
        tight = model.bound(image, samples=20_000).item()
        # mean of many one-sample bounds = the ELBO; 5 standard errors
        singles = model.bound(image.expand(4000, -1, -1, -1), samples=1)
    assert elbo > likelihood + 1e-3
    assert tight == pytest.approx(likelihood, abs=0.02)
    assert singles.mean().item() == pytest.approx(elbo, abs=5 * singles.std().item() / 4000**0.5)


@pytest.mark.parametrize("kind", [CategoricalVAE, BernoulliVAE])
def test_kl_is_that_of_the_enumerated_posterior(kind: type[DiscreteVAE]) -> None:
    model = small(kind)
    image = torch.rand(1, 1, 4, 4)
    logits = model.logits(image)
    samples = every_latent(model).unsqueeze(1)
    log_q_over_p = -model.log_ratio(samples, logits).double()
    q = (log_q_over_p - math.log(len(samples))).exp()
    assert model.kl(logits).item() == pytest.approx((q * log_q_over_p).sum().item(), abs=1e-5)


@pytest.mark.parametrize(("kind", "estimator"), PAIRS, ids=str)
def test_every_estimator_trains_and_validates(kind: type[DiscreteVAE], estimator: Estimator) -> None:
    model = small(kind, estimator=estimator)
    images = torch.rand(8, 1, 4, 4).round()
    logits = model.logits(images)
    loss = model.latent.expectation(lambda z: model.negative_log_likelihood(z, images), logits)
    assert loss.shape == (8,)
    (loss.mean() + model.kl(logits).mean()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.encoder[0].weight.grad.abs().sum() > 0
    logged: dict[str, object] = {}
    model.log = lambda name, value, **_: logged.update({name: value})  # type: ignore[method-assign,assignment]
    with torch.no_grad():
        model.eval().validation_step((images, torch.zeros(8)), 0)
    assert logged["val/negative_elbo"].isfinite()  # type: ignore[attr-defined]
    if not estimator.pathwise:
        assert model.val_gap[0].compute() == 0


def test_a_subclass_that_lacks_a_method_is_not_built() -> None:
    class Incomplete(DiscreteVAE):
        def kl(self, logits: Tensor) -> Tensor:
            return logits.sum(-1)

    with pytest.raises(TypeError, match="abstract method"):
        Incomplete(RelaxedCategorical(), (2, 3))  # type: ignore[abstract]


@pytest.mark.parametrize("kind", [CategoricalVAE, BernoulliVAE])
def test_evaluation_is_discrete_and_repeats(kind: type[DiscreteVAE]) -> None:
    model = small(kind).eval()
    images = torch.rand(5, 1, 4, 4)
    with torch.no_grad():
        assert torch.equal(model(images), model(images))
        assert torch.equal(model.bound(images, 7, seed=3), model.bound(images, 7, seed=3))
        codes = model.predict_step((images, torch.zeros(5)), 0)["codes"]
    assert codes.shape == (5, model.event[0])
    assert codes.dtype == torch.int64


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (CategoricalVAE, {"categories": 1}),
        (CategoricalVAE, {"latents": 0}),
        (CategoricalVAE, {"temperature": 0.0}),
        (CategoricalVAE, {"bound_samples": 0}),
        (CategoricalVAE, {"kl_weight": -1.0}),
        (BernoulliVAE, {"latents": 0}),
    ],
)
def test_bad_arguments(kind: type[DiscreteVAE], arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"got"):
        kind(**arguments)  # type: ignore[arg-type]
