"""A naive reference: all trajectories of a small process, one by one, in float64."""

from collections.abc import Iterator

import torch
from torch import Tensor

from discrete_lightning.control.tables.process import TabularProcess

HORIZON = 4


def small_process(seed: int = 0, states: int = 3, actions: int = 2) -> TabularProcess:
    """Random tables; each action ends the episode with a probability of its own."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(states, actions, states + 1, generator=generator, dtype=torch.float64) + 0.05
    rewards = torch.randn(states, actions, generator=generator, dtype=torch.float64)
    start = torch.rand(states, generator=generator, dtype=torch.float64)
    return TabularProcess((draw / draw.sum(-1, keepdim=True))[..., :-1], rewards, start / start.sum())


def some_logits(process: TabularProcess, seed: int = 1, batch: tuple[int, ...] = ()) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, process.states, process.actions, generator=generator, dtype=torch.float64)


def trajectories(
    process: TabularProcess, policy: Tensor, horizon: int = HORIZON
) -> Iterator[tuple[Tensor, list[tuple[int, int]]]]:
    """(probability, [(state, action), ...]) of every trajectory of at most `horizon` steps."""

    def go(
        state: int, probability: Tensor, path: list[tuple[int, int]]
    ) -> Iterator[tuple[Tensor, list[tuple[int, int]]]]:
        for action in range(process.actions):
            taken, longer = probability * policy[state, action], [*path, (state, action)]
            if len(longer) == horizon:
                yield taken, longer
                continue
            yield taken * (1 - process.transitions[state, action].sum()), longer
            for following in range(process.states):
                yield from go(following, taken * process.transitions[state, action, following], longer)

    for first in range(process.states):
        yield from go(first, process.start[first], [])


def enumerated_return(process: TabularProcess, policy: Tensor, gamma: float, beta: float) -> Tensor:
    """E sum gamma^t (r_t + beta H_t) within `HORIZON` steps."""
    entropies = torch.distributions.Categorical(policy).entropy()
    return sum(
        (
            probability * sum(gamma**t * (process.rewards[s, a] + beta * entropies[s]) for t, (s, a) in enumerate(path))
            for probability, path in trajectories(process, policy)
        ),
        torch.zeros((), dtype=torch.float64),
    )


def enumerated_loss_only(
    process: TabularProcess, logits: Tensor, gamma: float, beta: float, visit_gamma: float
) -> Tensor:
    """E sum_t visit_gamma^t [grad log pi(a_t|s_t) G_t + beta grad H(s_t)], G_t the rewards from t on, without entropies."""
    logits = logits.clone().requires_grad_()
    policy = torch.softmax(logits, -1)
    entropies = torch.distributions.Categorical(policy).entropy()
    total = torch.zeros((), dtype=torch.float64)
    for probability, path in trajectories(process, policy.detach()):
        for t, (s, a) in enumerate(path):
            later = sum(gamma**k * process.rewards[s2, a2] for k, (s2, a2) in enumerate(path[t:]))
            total = total + probability * visit_gamma**t * (policy[s, a].log() * later + beta * entropies[s])
    return torch.autograd.grad(total, logits)[0]
