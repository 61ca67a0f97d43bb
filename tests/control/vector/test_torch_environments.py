"""TorchEnvironments: automatic resets, time limits, noise by the number of an environment, resuming, the graph."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.control.environments import (
    Acrobot,
    CartPole,
    DeepSea,
    DifferentiableEnv,
    GridWorld,
    MountainCar,
    Transition,
)
from discrete_lightning.control.environments.base import one_hot_actions
from discrete_lightning.control.vector.base import EnvironmentFault, Step
from discrete_lightning.control.vector.torch_environments import TorchEnvironments


class Walk(DifferentiableEnv):
    """Moves by 0 or 1, and by a random number; ends beyond 3. Two components: the second one only counts."""

    state_size = 1
    observation_shape = (1,)
    actions = (2, 3)
    start_noise = 1
    step_noise = 1

    def start(self, uniform: Tensor) -> Tensor:
        return uniform

    def step(self, state: Tensor, action: Tensor, uniform: Tensor | None = None) -> Transition:
        assert uniform is not None
        state = state + action[:, 1:2] + uniform
        value = state.squeeze(1)
        return Transition(state, action[:, 4].detach(), value.square(), value.detach() > 3)


def actions_of(steps: int, count: int, sizes: tuple[int, ...] = (2,)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randint(size, (steps, count), generator=generator) for size in sizes], -1)


def run(environments: TorchEnvironments, actions: Tensor) -> list[Step]:
    return [environments.step(each) for each in actions]


def flat(step: Step) -> list[Tensor]:
    return [step.next.observations, *step[1:]]


def test_against_a_loop_over_single_episodes() -> None:
    """An environment by itself, in a plain loop, with the same noise."""
    env, count, limit = Walk(), 3, 4
    environments = TorchEnvironments(env, count, time_limit=limit, dtype=torch.float64)
    observations = environments.reset(seed=5).observations
    generator = torch.Generator().manual_seed(5)
    state = torch.rand(count, 1, generator=generator, dtype=torch.float64)
    assert torch.equal(observations, state.float())
    lengths, ends = [0] * count, {"terminated": 0, "truncated": 0}
    for actions in actions_of(40, count, (2, 3)):
        step = environments.step(actions)
        noise = torch.rand(count, 2, generator=generator, dtype=torch.float64)
        for i in range(count):
            after = state[i] + actions[i, 0] + noise[i, 1]
            lengths[i] += 1
            terminated, truncated = bool(after > 3), lengths[i] >= limit
            assert (step.terminated[i].item(), step.truncated[i].item()) == (terminated, truncated)
            assert step.rewards[i].item() == float(actions[i, 1] == 2)
            assert step.final[i].item() == after.float().item()
            if terminated or truncated:
                after, lengths[i] = noise[i, :1], 0
                ends["terminated" if terminated else "truncated"] += 1
            state[i] = after
            assert step.next.observations[i].item() == after.float().item()
        assert step.counted.all()
        assert (step.rewards.dtype, step.final.dtype) == (torch.float32, torch.float32)
    assert min(ends.values()) > 3


ALL = [CartPole(), Acrobot(), MountainCar(), GridWorld(), DeepSea(), Walk()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("env", ALL, ids=lambda env: type(env).__name__)
def test_types_and_shapes(env: DifferentiableEnv, dtype: torch.dtype) -> None:
    """The state keeps its type: a product with a number of another type would change it without an error."""
    environments = TorchEnvironments(env, 3, dtype=dtype)
    observed = environments.reset(seed=0)
    for actions in actions_of(5, 3, env.actions):
        step = environments.step(actions)
        for observations in (observed.observations, step.next.observations, step.final):
            assert (observations.dtype, observations.shape) == (torch.float32, (3, *env.observation_shape))
        assert (step.rewards.dtype, step.rewards.shape) == (torch.float32, (3,))
        assert {each.dtype for each in (step.terminated, step.truncated, step.counted)} == {torch.bool}
        assert environments.state_dict()["state"].dtype == dtype
        uniform = torch.rand(3, env.step_noise, dtype=dtype)
        state = environments.state_dict()["state"]
        for transition in (
            env.step(state, one_hot_actions(actions, env.actions, state), uniform),
            env.take(state, actions, uniform),
        ):
            assert [each.dtype for each in transition] == [dtype, dtype, dtype, torch.bool]


@pytest.mark.parametrize("env", ALL, ids=lambda env: type(env).__name__)
def test_two_processes_see_what_one_sees(env: DifferentiableEnv) -> None:
    whole = TorchEnvironments(env, 8, time_limit=20)
    parts = [TorchEnvironments(env, 4, first=first, total=8, time_limit=20) for first in (0, 4)]
    first = [each.reset(seed=3).observations for each in parts]
    assert torch.equal(whole.reset(seed=3).observations, torch.cat(first))
    assert env.states or not torch.equal(*first)
    for actions in actions_of(60, 8, env.actions):
        halves = [flat(each.step(mine)) for each, mine in zip(parts, actions.chunk(2), strict=True)]
        for one, *two in zip(flat(whole.step(actions)), *halves, strict=True):
            assert torch.equal(one, torch.cat(two))


def test_resumes_to_the_bit() -> None:
    actions = actions_of(90, 4)
    environments = TorchEnvironments(CartPole(time_limit=15), 4)
    environments.reset(seed=0)
    run(environments, actions[:50])
    saved = environments.state_dict()
    expected = run(environments, actions[50:])
    other = TorchEnvironments(CartPole(time_limit=15), 4)
    observed = other.load_state_dict(saved)
    assert torch.equal(observed.observations, saved["state"])
    for one, two in zip(expected, run(other, actions[50:]), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(flat(one), flat(two), strict=True))
    assert any(step.truncated.any() for step in expected)
    assert environments.resumes
    with pytest.raises(ValueError, match=r"saved state is \(4, 4\), this one \(5, 4\) \(CartPole\)"):
        TorchEnvironments(CartPole(), 5).load_state_dict(saved)


def test_saved_state_can_be_read_without_running_code(tmp_path: Any) -> None:
    environments = TorchEnvironments(DeepSea(3), 2)
    environments.reset(seed=0)
    torch.save(environments.state_dict(), tmp_path / "state.pt")
    environments.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))


def test_differentiable_steps_are_the_steps_with_a_graph() -> None:
    env, actions = CartPole(), actions_of(40, 6)
    plain, graph = TorchEnvironments(env, 6), TorchEnvironments(env, 6)
    plain.reset(seed=2)
    graph.reset(seed=2)
    for each in actions:
        one_hot = one_hot_actions(each, env.actions, torch.zeros(())).requires_grad_()
        transition, step = graph.differentiable_step(one_hot)
        assert transition.cost.requires_grad
        assert step.next.observations.requires_grad
        assert not step.rewards.requires_grad
        for one, two in zip(flat(plain.step(each)), flat(step), strict=True):
            torch.testing.assert_close(one, two.detach(), rtol=0, atol=1e-4)  # the sines of numpy and torch differ


def test_the_graph_goes_through_steps_and_is_cut_by_an_end_and_by_detach() -> None:
    environments = TorchEnvironments(Walk(), 2, time_limit=3)
    environments.reset(seed=0)
    actions = [torch.zeros(2, 5, requires_grad=True) for _ in range(5)]

    def gradients(of: Tensor) -> list[bool]:
        found = torch.autograd.grad(of.sum(), actions, retain_graph=True, allow_unused=True)
        return [each is not None and bool(each.any()) for each in found]

    steps = [environments.differentiable_step(each) for each in actions[:4]]
    assert not any(step.terminated.any() for _, step in steps)
    assert steps[2][1].truncated.all()
    assert gradients(steps[2][0].cost) == [True, True, True, False, False]
    assert gradients(steps[2][1].final) == [True, True, True, False, False]
    assert not any(gradients(steps[2][1].next.observations))
    assert gradients(steps[3][0].cost) == [False, False, False, True, False]
    before = steps[3][1].next.observations
    assert torch.equal(environments.detach().observations, before.detach())
    transition, _ = environments.differentiable_step(actions[4])
    assert gradients(transition.cost) == [False, False, False, False, True]


def test_states_made_in_inference_mode_can_be_trained_on() -> None:
    environments = TorchEnvironments(CartPole(), 2)
    with torch.inference_mode():
        environments.reset(seed=0)
        environments.step(torch.zeros(2, 1, dtype=torch.int64))
    environments.detach()
    transition, _ = environments.differentiable_step(torch.full((2, 2), 0.5, requires_grad=True))
    transition.cost.sum().backward()


@pytest.mark.parametrize(("value", "sizes"), [(-1, "0..1"), (2, "0..1")])
def test_names_the_environment_whose_action_is_out_of_range(value: int, sizes: str) -> None:
    environments = TorchEnvironments(CartPole(), 4, first=4, total=8)
    environments.reset(seed=0)
    actions = torch.zeros(4, 1, dtype=torch.int64)
    actions[2] = actions[3] = value
    with pytest.raises(EnvironmentFault, match=rf"environment 6 \(CartPole\): action {value} is not in {sizes}"):
        environments.step(actions)


def test_names_the_component_whose_action_is_out_of_range() -> None:
    environments = TorchEnvironments(Walk(), 1)
    environments.reset(seed=0)
    with pytest.raises(EnvironmentFault, match=r"environment 0 \(Walk\): action component 1 3 is not in 0\.\.2"):
        environments.step(torch.tensor([[0, 3]]))


@pytest.mark.parametrize("actions", [torch.zeros(3, dtype=torch.int64), torch.zeros(3, 1)])
def test_refuses_actions_of_another_form(actions: Tensor) -> None:
    environments = TorchEnvironments(CartPole(), 3)
    environments.reset(seed=0)
    with pytest.raises(EnvironmentFault, match=r"actions must be int64 \(3, 1\)"):
        environments.step(actions)
    with pytest.raises(ValueError, match=r"actions must be \(3, 2\) one-hot"):
        environments.differentiable_step(actions.float())


def test_asks_for_a_reset() -> None:
    with pytest.raises(RuntimeError, match="call reset"):
        TorchEnvironments(CartPole(), 1).step(torch.zeros(1, 1, dtype=torch.int64))


def test_says_that_it_cannot_be_drawn() -> None:
    environments = TorchEnvironments(Walk(), 1)
    environments.reset(seed=0)
    with pytest.raises(EnvironmentFault, match="Walk cannot be drawn"):
        environments.frame()


def test_says_what_pictures_need(monkeypatch: pytest.MonkeyPatch) -> None:
    environments = TorchEnvironments(CartPole(), 1)
    environments.reset(seed=0)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(EnvironmentFault, match=r"CartPole cannot be drawn: .*discrete_lightning\[control\]"):
        environments.frame()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count must be at least 1"),
        ({"first": -1}, "first at least 0"),
        ({"first": 4}, "total"),
        ({"first": 4, "total": 6}, "environments 4 to 7 are not among a total of 6"),
        ({"dtype": torch.bfloat16}, "float32 or float64"),
        ({"time_limit": 0}, "time_limit must be at least 1"),
    ],
)
def test_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchEnvironments(CartPole(), **{"count": 4, **arguments})
