"""A fit that is resumed in the middle ends where one ends that was not interrupted, to the bit; or says what starts anew."""

from pathlib import Path as File
from typing import Any

import pytest
import torch

from discrete_lightning.control.bonuses import CountBonus
from discrete_lightning.control.methods import A2C, PPO, SAC, LeaveOneOut, Path
from discrete_lightning.control.training.policy_gradient import PolicyGradient
from tests.control.training.agents import (
    METHODS,
    Figures,
    SaveAfter,
    assert_equal_states,
    fitted,
    state_of,
    tiny_agent,
    tiny_environments,
)
from tests.tiny_images import quiet_trainer

ALL_NORMS = {"norm_observations": True, "norm_rewards": True}


def _cases() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Arguments of model and data by name, made anew each time: a bonus has state."""
    return {
        **{type(each).__name__: ({"method": each}, {}) for each in METHODS},
        "normed PPO": ({"method": PPO(epochs=2, batch_size=24), "normed": True, "temperature": 1.0} | ALL_NORMS, {}),
        "normed LeaveOneOut": ({"method": LeaveOneOut()} | ALL_NORMS, {}),
        "bonus": (
            {"method": A2C(), "bonus": CountBonus(), "hidden": []},
            {"environment": "DeepSea", "steps": 4, "time_limit": None},
        ),
    }


def _interrupted(
    options: dict[str, Any], data: dict[str, Any], file: File
) -> tuple[PolicyGradient, list[dict[str, float]]]:
    """A fit that starts from a checkpoint written after 2 of 4 updates, with other random numbers before it."""
    fitted(tiny_agent(**options), tiny_environments(**data), callbacks=[SaveAfter(2, file)])
    fresh = {name: CountBonus() if isinstance(each, CountBonus) else each for name, each in options.items()}
    model, figures = tiny_agent(**fresh), Figures()
    torch.manual_seed(99)
    trainer = quiet_trainer(limit_val_batches=0, callbacks=[figures])
    trainer.fit(model, datamodule=tiny_environments(**data), ckpt_path=file)
    return model, figures.rows


@pytest.mark.parametrize("name", list(_cases()))
def test_a_resumed_fit_ends_in_the_same_bits(name: str, tmp_path: File, capsys: pytest.CaptureFixture[str]) -> None:
    options, data = _cases()[name]
    data = {"updates": 4} | data
    whole, figures = fitted(tiny_agent(**options), tiny_environments(**data))
    options, _ = _cases()[name]
    model, rows = _interrupted(options, data, tmp_path / "middle.ckpt")
    assert len(rows) == 2
    assert_equal_states(state_of(model), whole)
    for ours, reference in zip(rows, figures[2:], strict=True):  # a figure that was not logged again is the last one's
        assert ours == pytest.approx({each: reference[each] for each in ours}, rel=0, abs=0, nan_ok=True)
    assert rows[-1]["environment_steps"] == figures[-1]["environment_steps"]
    assert "anew" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "note"),
    [
        ("tests.control.training.toy_environments:walks", "note: SyncVectorEnv: episodes start anew; policy"),
        (
            "tests.control.vector.tiny:Global",
            "note: Global: episodes start anew (environment 0 of 4, counted from 0: replay: ",
        ),
    ],
    ids=["VectorEnv", "own randomness"],
)
def test_what_cannot_be_resumed_says_so_and_goes_on(
    environment: str, note: str, tmp_path: File, capsys: pytest.CaptureFixture[str]
) -> None:
    options, data = {"method": PPO(epochs=1), "norm_rewards": True}, {"environment": environment, "updates": 4}
    model, rows = _interrupted(options, data, tmp_path / "middle.ckpt")
    assert note in capsys.readouterr().out
    assert model.counters.environment_steps == 4 * 4 * 6
    assert len(rows) == 2


def test_a_checkpoint_from_before_the_first_update_has_the_episodes(tmp_path: File) -> None:
    class AtStart(SaveAfter):
        def on_train_start(self, trainer: Any, module: Any) -> None:
            trainer.save_checkpoint(self.file)

    options, data = {"method": PPO(epochs=1)}, {"environment": "CartPole-v1", "updates": 4}
    _interrupted(options, data, tmp_path / "middle.ckpt")
    model = tiny_agent(**options)
    trainer = quiet_trainer(limit_val_batches=0, callbacks=[AtStart(0, tmp_path / "start.ckpt")])
    trainer.fit(model, datamodule=tiny_environments(**data), ckpt_path=tmp_path / "middle.ckpt")
    one, other = (
        torch.load(tmp_path / name, weights_only=True)["environments"] for name in ("middle.ckpt", "start.ckpt")
    )
    assert one["environments"] == other["environments"]
    assert torch.equal(one["generator"], other["generator"])


def test_another_number_of_environments_starts_episodes_anew(
    tmp_path: File, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"method": SAC(batch_size=32, warm_up=0), "norm_rewards": True}
    _interrupted(options, {"updates": 4}, tmp_path / "middle.ckpt")
    assert "anew" not in capsys.readouterr().out
    model = tiny_agent(**options)
    trainer = quiet_trainer(limit_val_batches=0)
    trainer.fit(model, datamodule=tiny_environments(5, updates=4), ckpt_path=tmp_path / "middle.ckpt")
    assert "episodes start anew and the memory of transitions fills anew" in capsys.readouterr().out
    assert model.counters.environment_steps == 2 * 4 * 6 + 2 * 5 * 6


@pytest.mark.parametrize("method", [PPO(epochs=1), Path()], ids=["PPO", "Path"])
def test_a_checkpoint_gives_the_same_actions(method: Any, tmp_path: File) -> None:
    file = tmp_path / "middle.ckpt"
    model, _ = _interrupted({"method": method, "norm_observations": True}, {"updates": 4}, file)
    loaded = PolicyGradient.load_from_checkpoint(file)
    assert loaded.method == model.method
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    again = tiny_agent(method, norm_observations=True, observation_shape=[4], actions=[2])
    again.load_state_dict(torch.load(file, weights_only=True)["state_dict"])
    torch.testing.assert_close(loaded.policy(x).logits, again.policy(x).logits, rtol=0, atol=0)
    assert torch.equal(loaded.eval()(x), again.eval()(x))


def test_another_environment_is_refused(tmp_path: File) -> None:
    file = tmp_path / "middle.ckpt"
    _interrupted({"method": PPO(epochs=1)}, {"updates": 4}, file)
    model = PolicyGradient.load_from_checkpoint(file)
    with pytest.raises(
        ValueError, match=r"DeepSea has observations \[17\] and \[2\] actions: it is another environment"
    ):
        quiet_trainer().fit(
            model, datamodule=tiny_environments(environment="DeepSea", arguments={"size": 4}, time_limit=None)
        )
