"""TorchEnvironments on a pretended accelerator: in deterministic mode, without float64, with another default type."""

import pytest
import torch

from discrete_lightning.control.environments import (
    Acrobot,
    CartPole,
    DeepSea,
    DifferentiableEnv,
    GridWorld,
    MountainCar,
)
from discrete_lightning.control.environments.base import one_hot_actions
from discrete_lightning.control.vector.base import EnvironmentFault
from discrete_lightning.control.vector.torch_environments import TorchEnvironments
from tests.harness.deterministic import Deterministic
from tests.harness.device import PretendDevice

ENVIRONMENTS = [CartPole(), Acrobot(), MountainCar(), GridWorld(), DeepSea(4)]
STEPS = 16


def visited(env: DifferentiableEnv, device: str) -> list[torch.Tensor]:
    """Observations, rewards and ends of a few steps of each kind, and gradients of the last ones."""
    environments = TorchEnvironments(env, 4, device=device, time_limit=9)
    found = [environments.reset(seed=0).observations]
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros((), device=device)
    for i in range(STEPS):
        actions = torch.randint(env.actions[0], (4, 1), generator=generator).to(device)
        if i < STEPS - 5:
            step = environments.step(actions)
        else:
            one_hot = one_hot_actions(actions, env.actions, found[0]).requires_grad_()
            transition, step = environments.differentiable_step(one_hot)
            total = total + transition.cost.sum()
            found.append(torch.autograd.grad(total, one_hot, retain_graph=True)[0])
        found += [step.next.observations, step.final, step.rewards, step.terminated, step.truncated]
    environments.load_state_dict(environments.state_dict())
    with pytest.raises(EnvironmentFault, match=r"environment 1 .* action 7 is not in"):
        environments.step(torch.tensor([[0], [7], [-1], [0]], device=device))
    assert {each.device.type for each in found} == {device}
    return [each.detach() for each in found]


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("env", ENVIRONMENTS, ids=lambda env: type(env).__name__)
def test_an_accelerator_sees_what_the_cpu_sees(env: DifferentiableEnv, device: str) -> None:
    expected = visited(env, "cpu")
    with PretendDevice(device, float64=device == "cuda"), Deterministic():
        found = [torch.as_tensor(each.tolist()) for each in visited(env, device)]
    for one, two in zip(expected, found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3, check_dtype=False)


def test_the_default_type_does_not_matter() -> None:
    for env in ENVIRONMENTS:
        expected = visited(env, "cpu")
        torch.set_default_dtype(torch.float64)
        try:
            found = visited(env, "cpu")
        finally:
            torch.set_default_dtype(torch.float32)
        assert all(torch.equal(one, two) for one, two in zip(expected, found, strict=True))
