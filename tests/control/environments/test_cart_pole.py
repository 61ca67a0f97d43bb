"""CartPole against gymnasium's, step by step."""

import gymnasium
import numpy as np
import pytest
import torch

from discrete_lightning.control.environments import CartPole

EPISODES = 200


def same_sines(angles: np.ndarray) -> bool:
    """Whether torch and numpy round sines alike on this machine, at these angles."""
    values = torch.from_numpy(angles)
    return all(np.array_equal(f(angles), g(values).numpy()) for f, g in ((np.sin, torch.sin), (np.cos, torch.cos)))


def test_episodes_are_gymnasiums() -> None:
    """Every step of random episodes in float64: to the bit where the sines are, else to 1e-12."""
    env, theirs = CartPole(), gymnasium.make("CartPole-v1").unwrapped
    rng = np.random.default_rng(0)
    angles, after, expected = [], [], []
    for episode in range(EPISODES):
        theirs.reset(seed=episode)
        state, ended = torch.from_numpy(theirs.state.copy())[None], False
        while not ended:
            action = int(rng.integers(2))
            _, reward, ended, _, _ = theirs.step(action)
            angles.append(float(state[0, 2]))
            transition = env.step(state, torch.eye(2, dtype=torch.float64)[[action]])
            taken = env.take(state, torch.tensor([[action]]))
            state = transition.state
            assert all(torch.equal(a, b) for a, b in zip(transition, taken, strict=True))
            assert transition.reward.item() == reward
            assert transition.terminated.item() == ended
            after.append(state[0].numpy())
            expected.append(theirs.state.copy())
    assert len(after) > 10 * EPISODES
    if same_sines(np.array(angles)):
        np.testing.assert_array_equal(after, expected)
    else:
        np.testing.assert_allclose(after, expected, rtol=0, atol=1e-12)


def test_first_states_are_gymnasiums() -> None:
    theirs = gymnasium.make("CartPole-v1").unwrapped
    for seed in range(20):
        theirs.reset(seed=seed)
        uniform = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).random(4)
        np.testing.assert_array_equal(CartPole().start(torch.from_numpy(uniform)[None])[0].numpy(), theirs.state)


def test_attributes_are_gymnasiums() -> None:
    spec = gymnasium.spec("CartPole-v1")
    assert (CartPole().time_limit, CartPole.reward_threshold) == (spec.max_episode_steps, spec.reward_threshold)


@pytest.mark.parametrize("lean", [0.05, -0.15])
def test_gradients(lean: float) -> None:
    state = torch.tensor([[0.3, -0.2, lean, 0.4], [-1.0, 0.5, -lean, 1.0]], dtype=torch.float64, requires_grad=True)
    action = torch.tensor([[1.0, 0.0], [0.3, 0.7]], dtype=torch.float64, requires_grad=True)

    def after(state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        transition = CartPole().step(state, action)
        assert not transition.reward.requires_grad
        return transition.state, transition.cost

    assert torch.autograd.gradcheck(after, (state, action))


def test_cost_exceeds_1_where_the_episode_has_ended() -> None:
    states = torch.tensor([[2.41, 0.0, 0.0, 0.0], [0.0, 0.0, 0.21, 0.0], [0.0, 0.0, 0.0, 0.0]])
    transition = CartPole().step(states, torch.full((3, 2), 0.5))
    assert transition.terminated.tolist() == [True, True, False]
    assert (transition.cost > 1).tolist() == [True, True, False]


def test_refuses_a_limit_below_1() -> None:
    with pytest.raises(ValueError, match="time_limit must be at least 1"):
        CartPole(time_limit=0)
