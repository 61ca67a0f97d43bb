"""`PolicyGradient` under Lightning: what it logs and counts, precisions, and what is refused before training."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.control.bonuses import CountBonus
from discrete_lightning.control.methods import A2C, PPO, REINFORCE, SAC, AllActions, ControlMethod, LeaveOneOut, Path
from discrete_lightning.control.methods.base import NetworkShape
from discrete_lightning.control.training.environments import Environments
from discrete_lightning.control.training.policy_gradient import PolicyGradient
from discrete_lightning.estimators import ReinMax, StraightThroughGumbel
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.training.choice_monitor import ChoiceMonitor
from tests.control.training.agents import METHODS, fitted, state_of, tiny_agent, tiny_environments
from tests.tiny_images import quiet_trainer

TWO_AT_ONCE = "tests.control.training.tiny_spaces:TwoAtOnce"
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda each: type(each).__name__)


@each_method
@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed", "64-true"])
def test_every_precision_trains_and_tests(method: ControlMethod, precision: Any) -> None:
    model, data = tiny_agent(method, norm_observations=True), tiny_environments(episodes=2, test_episodes=2)
    trainer = quiet_trainer(precision=precision)
    trainer.fit(model, datamodule=data)
    assert model.observation_norm is not None
    assert model.observation_norm.mean.dtype == torch.float32
    weights = list(model.policy.network.parameters())
    expected = {"bf16-true": torch.bfloat16, "64-true": torch.float64}.get(precision, torch.float32)
    assert {each.dtype for each in weights} == {expected}
    assert all(bool(each.isfinite().all()) for each in weights)
    (found,) = trainer.test(model, datamodule=data, verbose=False)
    assert 1 <= found["test/return"] <= 15


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="runs in 32-true"):
        quiet_trainer(precision="16-true").fit(tiny_agent(PPO()), datamodule=tiny_environments())


def test_what_is_logged() -> None:
    model, data = tiny_agent(PPO(epochs=2), temperature=0.5), tiny_environments()
    trainer = quiet_trainer()
    trainer.fit(model, datamodule=data)
    names = ["loss", "return", "length", "entropy", "explained_variance", "kl", "clip_fraction"]
    logged = trainer.callback_metrics
    assert {f"train/{name}" for name in names} | {"val/return", "val/length", "temperature"} <= logged.keys()
    assert logged["environment_steps"] == model.counters.environment_steps == 3 * 4 * 6
    assert logged["temperature"] == 0.5
    (found,) = trainer.test(model, datamodule=data, verbose=False)
    assert found.keys() >= {"test/return", "test/length", "test/random_return"}
    (again,) = trainer.test(model, datamodule=data, verbose=False)
    assert again == found  # seeds are fixed
    assert found["test/return"] == found["test/length"]  # of CartPole


def test_returns_are_those_of_whole_episodes() -> None:
    """Of LeaveOneOut, an update is one episode of each environment; a reward of 1 a step."""
    _, figures = fitted(tiny_agent(LeaveOneOut(), norm_rewards=True), tiny_environments())
    steps = [row["environment_steps"] for row in figures]
    for row, before, after in zip(figures, [0.0, *steps], steps, strict=False):
        assert row["train/return"] == row["train/length"] == pytest.approx((after - before) / 4)


def test_rewards_are_logged_as_they_are() -> None:
    """Neither scaled nor with the intrinsic bonus: all of DeepSea's episodes are lost at first, for at most its cost."""
    model = tiny_agent(A2C(), bonus=CountBonus(10.0), hidden=[], norm_rewards=True)
    _, figures = fitted(model, tiny_environments(environment="DeepSea", steps=10, time_limit=None))
    assert all(-0.01 <= row["train/return"] <= 0 for row in figures)


def test_steps_that_are_no_transitions_do_not_count() -> None:
    _, figures = fitted(tiny_agent(REINFORCE()), tiny_environments())
    assert figures[0]["environment_steps"] == pytest.approx(4 * figures[0]["train/length"])


class Counting(ChoiceMonitor):
    """Adds up what has been counted."""

    total = 0.0

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.total += sum(float(use.chosen.sum()) for use in self._uses.values())
        super().on_train_epoch_end(trainer, module)


@each_method
def test_each_action_is_counted_once(method: ControlMethod) -> None:
    monitor = Counting(filename=None, collapsed_below=0, dominated_above=1)
    model = tiny_agent(method)
    quiet_trainer(callbacks=[monitor], limit_val_batches=0).fit(model, datamodule=tiny_environments())
    if method.whole_episodes:  # an environment that has come to its end still gets actions, which nothing comes of
        assert monitor.total >= model.counters.environment_steps
    else:
        assert monitor.total == model.counters.environment_steps == 72


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": PPO(), "estimator": ReinMax()}, "PPO differentiates log-probabilities and has no estimator"),
        ({"method": A2C(), "objective": "both"}, "objective is one of"),
        ({"method": A2C(), "gamma": 1.5}, r"gamma is in \[0, 1\]"),
        ({"method": Path(), "objective": "maximum_entropy"}, "Path descends a cost"),
        ({"method": Path(), "norm_rewards": True}, "Path descends a cost"),
        ({"method": Path(), "bonus": CountBonus()}, "Path descends a cost"),
        ({"method": A2C(), "temperature": Temperature(learnable=True)}, "not identified"),
        ({"method": A2C(), "learning_rate": 0.0}, "learning_rate must be positive"),
        ({"method": A2C(), "evaluation": "best"}, "evaluation must be"),
        ({"method": A2C(), "entropy_weight": -1.0}, "must not be negative"),
    ],
    ids=lambda each: None if isinstance(each, dict) else each[:20],
)
def test_arguments_that_do_not_go_together_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tiny_agent(**options)


@pytest.mark.parametrize(
    ("options", "data", "text"),
    [
        ({"method": Path()}, {"environment": "CartPole-v1"}, "CartPole-v1 is none in torch"),
        ({"method": AllActions()}, {"environment": TWO_AT_ONCE}, "AllActions chooses one action at a time"),
        ({"method": SAC()}, {"environment": TWO_AT_ONCE}, "SAC chooses one action at a time"),
        ({"method": Path()}, {"environment": TWO_AT_ONCE}, "Path chooses one action at a time"),
        ({"method": A2C(), "bonus": CountBonus()}, {}, "CountBonus counts the visits of finitely many states"),
        ({"method": LeaveOneOut()}, {"number": 1}, "2 environments or more"),
    ],
    ids=lambda each: None if isinstance(each, dict) else each[:20],
)
def test_data_that_do_not_fit_are_refused(options: dict[str, Any], data: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        quiet_trainer().fit(tiny_agent(**options), datamodule=tiny_environments(**data))


@pytest.mark.parametrize(
    "method", [PPO(epochs=1), A2C(), REINFORCE(), LeaveOneOut()], ids=lambda each: type(each).__name__
)
def test_several_actions_at_once(method: ControlMethod) -> None:
    model, data = tiny_agent(method, evaluation="draw"), tiny_environments(environment=TWO_AT_ONCE)
    trainer = quiet_trainer()
    trainer.fit(model, datamodule=data)
    assert model.eval()(torch.rand(5, 2)).shape == (5, 2)
    (found,) = trainer.test(model, datamodule=data, verbose=False)
    assert 0 <= found["test/return"] <= 6 == found["test/length"]


def test_it_learns() -> None:
    """Which of two actions is right is seen: PPO finds out in a few updates."""
    model = tiny_agent(PPO(epochs=8, batch_size=48), learning_rate=0.03, entropy_weight=0.0, gamma=0.0)
    data = tiny_environments(8, environment=TWO_AT_ONCE, steps=24, updates=25, test_episodes=10)
    trainer = quiet_trainer(limit_val_batches=0)
    trainer.fit(model, datamodule=data)
    (found,) = trainer.test(model, datamodule=data, verbose=False)
    assert found["test/return"] > 5
    assert found["test/random_return"] < 2


def test_the_estimator_and_its_relaxation_are_paths_own() -> None:
    model = tiny_agent(Path(), estimator=ReinMax(), relaxation=0.5, observation_shape=[4], actions=[2])
    assert model.policy.relaxation is not None
    assert model.policy.relaxation.estimator == ReinMax()
    assert model.policy.relaxation.temperature() == 0.5
    default = PolicyGradient(Path(), observation_shape=[4], actions=[2])
    assert default.policy.relaxation is not None
    assert default.policy.relaxation.estimator == StraightThroughGumbel()


def test_the_norm_of_observations_is_that_of_all_that_was_seen() -> None:
    """An update sees the statistics of those before it: the first one none."""
    model = tiny_agent(A2C(), norm_observations=True)
    rows: list[Tensor] = []

    class Watched(type(model)):  # type: ignore[misc]
        def saw(self, rollout: Any) -> None:
            super().saw(rollout)
            assert self.observation_norm.count == sum(len(each) for each in rows)
            rows.append(rollout.observations.flatten(0, 1))

    model.__class__ = Watched
    state = fitted(model, tiny_environments())[0]
    seen = torch.cat(rows).double()
    torch.testing.assert_close(state["observation_norm.mean"].double(), seen.mean(0), rtol=1e-4, atol=1e-6)
    variance = state["observation_norm.squares"].double() / len(seen)
    torch.testing.assert_close(variance, seen.var(0, correction=0), rtol=1e-4, atol=1e-7)
    assert state.keys() == state_of(model).keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": Path(), "normed": True}, "few states at a time"),
        ({"method": Path(), "objective": "maximum_entropy"}, "has no returns: leave objective"),
        ({"method": SAC(), "discounted": True}, "does not weigh steps"),
        ({"method": PPO(), "gradient_clip": -1.0}, "gradient_clip must be positive"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolicyGradient(**options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: A2C(lambda_=2.0),
        lambda: Path(lambda_=-1.0),
        lambda: PPO(value_clip=-1.0),
        lambda: PPO(target_kl=0.0),
        lambda: SAC(capacity=500),
    ],
)
def test_settings_out_of_range_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"A2C|Path|PPO|SAC"):
        make()


def test_moving_averages_move_in_bfloat16() -> None:
    parts = SAC(smoothing=0.005).parts(NetworkShape((4,), (2,), (8,), "tanh"))
    model = nn.ModuleDict(parts).to(torch.bfloat16)
    target, critic = model["target1"], model["critic1"]
    assert {each.dtype for each in target.parameters()} == {torch.float32}
    before = [each.clone() for each in target.parameters()]
    with torch.no_grad():
        for each in critic.parameters():
            each.add_(1.0)
    SAC(smoothing=0.005)._move_targets(model)
    for old, new in zip(before, target.parameters(), strict=True):
        torch.testing.assert_close(new - old, torch.full_like(old, 0.005), rtol=0.05, atol=1e-4)


def test_episodes_that_cannot_be_compared_are_refused_before_training() -> None:
    model = PolicyGradient(LeaveOneOut())
    with pytest.raises(ValueError, match="needs 2 environments or more, the data has 1"):
        quiet_trainer().fit(model, Environments("CartPole", number=1))
    assert model.counters.environment_steps == 0
