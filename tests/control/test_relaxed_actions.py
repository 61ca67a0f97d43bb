"""One-hot actions with an estimator's gradient: any number of processes sees the same ones, and counts its own."""

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.control.action_distribution import ActionDistribution
from discrete_lightning.control.policy import CategoricalPolicy
from discrete_lightning.estimators import Estimator, StraightThroughGumbel
from discrete_lightning.layers.choices import choices_made
from tests.references.every_estimator import each_pathwise


def _sampled(policy: CategoricalPolicy, logits: Tensor, **rows: int) -> tuple[Tensor, Tensor]:
    """Samples of some states, and the gradient of their weighted sum."""
    mine = logits.clone().requires_grad_()
    sample = policy.relaxed(ActionDistribution(mine), torch.Generator().manual_seed(3), **rows)
    weights = torch.linspace(-1, 1, sample.shape[-1])
    (slope,) = torch.autograd.grad((sample * weights).sum(), mine)
    return sample.detach(), slope


@each_pathwise
def test_parts_are_rows_of_the_whole(estimator: Estimator) -> None:
    policy = CategoricalPolicy(nn.Linear(2, 5), 5, estimator=estimator, relaxation=0.7)
    logits = torch.randn(8, 1, 5, generator=torch.Generator().manual_seed(0))
    whole = _sampled(policy, logits)
    for first, count in ((0, 3), (3, 4), (7, 1)):
        part = _sampled(policy, logits[first : first + count], first=first, total=8)
        for mine, all_ in zip(part, whole, strict=True):
            torch.testing.assert_close(mine, all_[first : first + count], rtol=0, atol=0)


@each_pathwise
def test_illegal_actions_are_never_sampled(estimator: Estimator) -> None:
    policy = CategoricalPolicy(nn.Linear(2, 3), 3, estimator=estimator)
    logits = torch.randn(50, 1, 3, generator=torch.Generator().manual_seed(0))
    logits[:, :, 1] = -torch.inf
    sample, slope = _sampled(policy, logits)
    assert not sample[..., 1].any()
    assert bool(slope.isfinite().all())
    assert not slope[..., 1].any()


def test_in_eval_the_most_likely_action_is_taken() -> None:
    policy = CategoricalPolicy(nn.Linear(2, 3), 3, estimator=StraightThroughGumbel()).eval()
    found = policy(torch.randn(9, 2))
    for rows in ({}, {"first": 2, "total": 20}):
        assert torch.equal(policy.relaxed(found, **rows).argmax(-1), found.mode())


def test_without_an_estimator_it_is_refused() -> None:
    policy = CategoricalPolicy(nn.Linear(2, 3), 3)
    with pytest.raises(ValueError, match="no estimator"):
        policy.relaxed(policy(torch.zeros(1, 2)))


def test_a_process_counts_its_own_choices_alone() -> None:
    """What `ChoiceMonitor` sees is not the noise of the others."""
    policy = CategoricalPolicy(nn.Linear(2, 3), 3, estimator=StraightThroughGumbel())
    seen: list[Tensor] = []

    def note(layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
        found = choices_made(layer, {"logits": args[0]} | kwargs, output)
        assert found is not None
        assert found.logits is not None
        assert found.chosen.shape[:-1] == found.logits.shape[:-1]
        seen.append(found.chosen)

    assert policy.relaxation is not None
    policy.relaxation.register_forward_hook(note, with_kwargs=True)
    sample = policy.relaxed(policy(torch.randn(4, 2)), torch.Generator().manual_seed(0), first=4, total=8)
    assert len(seen) == 1
    assert torch.equal(seen[0].flatten(), sample.argmax(-1).flatten())
