import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from discrete_lightning.control.environments import CartPole
from discrete_lightning.control.vector.base import VectorEnvironments
from discrete_lightning.control.vector.environment_list import EnvironmentList
from discrete_lightning.control.vector.gymnasium_vector import GymnasiumVector
from discrete_lightning.control.vector.torch_environments import TorchEnvironments
from discrete_lightning.data import DataError, Environments
from discrete_lightning.protocols import OutsideFault
from discrete_lightning.training.interrupt import GracefulInterrupt
from tests.cli.conftest import cli, workplace
from tests.cli.outcome import Cli

__all__ = ["cli", "workplace"]
OWN = "tests.control.training.toy_environments:"


def str_or_type(value: Any) -> str:
    return value if isinstance(value, str) else type(value).__name__


class Counting(LightningModule):
    """Keeps the batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches: dict[str, list[Any]] = {"train": [], "val": [], "test": [], "predict": []}

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.batches["train"].append(batch_idx)
        return self.weight * 1.0

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.batches["val"].append(batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.batches["test"].append(batch)

    def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.batches["predict"].append(batch)
        return self.weight

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "num_sanity_val_steps": 0,
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
}


@pytest.mark.parametrize("stop", [7, 4, 5, 0])
def test_a_run_that_was_stopped_in_the_middle_of_an_epoch_takes_all_its_updates(tmp_path: Path, stop: int) -> None:
    class Failing(Counting):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            if self.global_step == stop:
                raise OutsideFault("asked for")
            return super().training_step(batch, batch_idx)

    first, data = Failing(), Environments(updates=5)
    trainer = Trainer(max_epochs=3, callbacks=[GracefulInterrupt(tmp_path / "a.ckpt")], **QUIET)
    with pytest.raises(OutsideFault):
        trainer.fit(first, data)
    rest = Counting()
    Trainer(max_epochs=3, **QUIET).fit(rest, Environments(updates=5), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert first.batches["train"] + rest.batches["train"] == [0, 1, 2, 3, 4] * 3


def test_batches_count(tmp_path: Path) -> None:
    module, data = Counting(), Environments(number=2, updates=5)
    trainer = Trainer(max_epochs=2, default_root_dir=tmp_path, **QUIET)
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    trainer.predict(module, data)
    assert module.batches == {"train": [0, 1, 2, 3, 4] * 2, "val": [0, 0], "test": [0], "predict": [0]}


FACTS = [
    ("CartPole-v1", {}, EnvironmentList, ((4,), None, (2,), 500, 475.0, False)),
    ("CartPole", {}, TorchEnvironments, ((4,), None, (2,), 500, 475.0, True)),
    ("FrozenLake-v1", {}, EnvironmentList, ((16,), 16, (4,), 100, 0.7, False)),
    ("CliffWalking-v1", {"time_limit": 50}, EnvironmentList, ((48,), 48, (4,), 50, None, False)),
    (f"{OWN}Registered-v3", {}, EnvironmentList, ((2,), None, (2,), 3, 7.0, False)),
    (f"{OWN}Registered-v3", {"time_limit": 9, "processes": True}, GymnasiumVector, ((2,), None, (2,), 9, 7.0, False)),
    (f"{OWN}Walk", {"time_limit": 20}, EnvironmentList, ((2,), None, (2,), 20, None, False)),
    (f"{OWN}walk", {"time_limit": 20}, EnvironmentList, ((2,), None, (2,), 20, None, False)),
    (f"{OWN}walks", {"time_limit": 20}, GymnasiumVector, ((2,), None, (2,), 20, None, False)),
    (f"{OWN}pole", {}, TorchEnvironments, ((4,), None, (2,), 7, 475.0, True)),
    (f"{OWN}Pole", {"arguments": {"time_limit": 9}}, TorchEnvironments, ((4,), None, (2,), 9, 475.0, True)),
    (CartPole(11), {}, TorchEnvironments, ((4,), None, (2,), 11, 475.0, True)),
]


@pytest.mark.parametrize(
    ("environment", "options", "kind", "facts"), FACTS, ids=[str_or_type(each[0]) for each in FACTS]
)
def test_every_way_to_name_one(
    environment: Any, options: dict[str, Any], kind: type[VectorEnvironments], facts: tuple[Any, ...]
) -> None:
    data = Environments(environment, number=2, **options)
    data.setup("fit")
    assert facts == (
        data.observation_shape,
        data.states,
        data.actions,
        data.time_limit,
        data.reward_threshold,
        data.differentiable,
    )
    made = data.make(2, first=2, total=6)
    assert isinstance(made, kind)
    assert (made.count, made.first) == (2, 2)
    assert made.time_limit == data.time_limit
    assert made.name == data.name
    step = (made.reset(seed=0), made.step(torch.zeros(2, len(data.actions), dtype=torch.long)))[1]
    assert step.next.observations.shape == (2, *data.observation_shape)
    made.close()


def test_arguments_reach_the_environment() -> None:
    data = Environments("FrozenLake-v1", number=1, arguments={"is_slippery": False, "map_name": "8x8"})
    assert data.states == 64
    environments = data.make(1)
    environments.reset(seed=0)
    assert environments.step(torch.tensor([[2]])).next.observations.argmax() == 1
    environments.close()


WRONG = [
    ("CartPol-v1", {}, "'CartPol-v1' is no environment .*did you mean CartPole-v1"),
    ("frozenlake-v1", {}, "did you mean FrozenLake-v1"),
    ("Acrobott", {}, "did you mean Acrobot"),
    ("CartPole-v9", {}, "did you mean CartPole-v1"),
    ("CliffWalking-v1", {}, "CliffWalking-v1 has no time limit.* --data.time_limit"),
    ("Pendulum-v1", {}, r"Pendulum-v1: action space Box.*expected discrete"),
    ("CartPole-v1", {"arguments": {"size": 3}}, "CartPole-v1 cannot be made: TypeError.*size"),
    ("CartPole-v1", {"arguments": {"render_mode": "human"}}, "opens a window"),
    ("CartPole", {"arguments": {"size": 3}}, "CartPole cannot be made: TypeError.*size"),
    ("CartPole", {"processes": True}, "in torch: set processes=False"),
    (f"{OWN}walks", {"processes": True}, "set processes=False"),
    (f"{OWN}Wolk", {}, "no class or function 'Wolk'.*; did you mean walk"),
    (f"{OWN}Register-v3", {}, "registers no such id; did you mean Registered-v3"),
    (f"{OWN}number", {}, "gave a int, which is no gymnasium.Env"),
    (f"{OWN}too_few", {"number": 2}, "gave a SyncVectorEnv, and .*num_envs gives a .*here 2"),
    (f"{OWN}Endless", {}, "Endless has no time limit"),
    ("no_such_module:Env", {}, "no module 'no_such_module'"),
]


@pytest.mark.parametrize(("environment", "options", "message"), WRONG, ids=[each[0] for each in WRONG])
def test_what_is_wrong_is_said_before_training(environment: str, options: dict[str, Any], message: str) -> None:
    data = Environments(environment, **options)
    with pytest.raises(DataError, match=message) as caught:
        data.make(2) if "too_few" in environment else data.setup("fit")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["number", "steps", "updates", "episodes", "test_episodes", "time_limit", "seed"])
def test_numbers_out_of_range(name: str) -> None:
    value: Any = -1 if name == "seed" else 0
    with pytest.raises(ValueError, match=rf"^{name}={value}: expected"):
        Environments(**{name: value})


def test_an_object_has_its_arguments() -> None:
    with pytest.raises(ValueError, match="give them to CartPole itself"):
        Environments(CartPole(), arguments={"time_limit": 3})


def test_missing_packages_name_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Box2D", None)
    for name in [each for each in sys.modules if each.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(DataError, match=r"pip install 'gymnasium\[box2d\]'"):
        Environments("LunarLander-v3").setup("fit")
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(DataError, match=r"gymnasium is not installed.*pip install 'discrete_lightning\[control\]'"):
        Environments("CartPole-v1").setup("fit")
    Environments("CartPole").setup("fit")


# The command line.

CONFIG = """\
model: {class_path: tests.control.training.test_environments.Counting}
data: {class_path: Environments, init_args: {number: 2}}
trainer: {max_epochs: 1, accelerator: cpu, num_sanity_val_steps: 0, log_every_n_steps: 1}
"""


@pytest.fixture
def planted(workplace: None, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("control.yaml").write_text(CONFIG)
    Path("planted_env.py").write_text(
        "from pathlib import Path\nPath('imported').touch()\nfrom tests.control.vector.tiny import Walk\n"
    )
    monkeypatch.syspath_prepend(".")
    sys.modules.pop("planted_env", None)


def test_a_module_of_the_user_s_own_needs_trust(planted: None, cli: Cli) -> None:
    known = ("-c", "control.yaml", "--trust", "tests", "--data.time_limit", "9")
    named = ("--data.environment", "planted_env:Walk")
    outcome = cli("fit", *known, *named)
    assert outcome.code == 2
    assert outcome.error == (
        "'planted_env:Walk' (given by --data.environment) is not trusted, because naming a class in a config runs its module's "
        "code: if you know this one, add --trust planted_env"
    )
    Path("own.yaml").write_text("data: {init_args: {environment: 'planted_env:Walk'}}")
    assert "(line 1 of own.yaml) is not trusted" in cli("fit", *known, "-c", "own.yaml").error
    assert not Path("imported").exists()
    assert not Path("runs").exists()
    assert cli("check", *known, *named, "--trust", "planted_env").code == 0
    assert Path("imported").exists()
    assert cli("check", *known, *named).code == 2  # trust ends with the command


@pytest.mark.parametrize("path", ["torch:load", "os:system", "discrete_lightning.cli:main", "torch.hub:load"])
def test_no_function_of_a_known_module_is_called_without_trust(planted: None, cli: Cli, path: str) -> None:
    assert "is not trusted" in cli("check", "-c", "control.yaml", "--trust", "tests", "--data.environment", path).error


def test_the_command_line_takes_names_and_refuses_typos_in_one_line(planted: None, cli: Cli) -> None:
    known = ("-c", "control.yaml", "--trust", "tests")
    assert cli("check", *known, "--data.environment", "CartPole").code == 0
    assert cli("check", *known, "--data.environment", "{class_path: CartPole, init_args: {time_limit: 9}}").code == 0
    options = ("--data.environment=FrozenLake-v1", "--data.arguments", "{is_slippery: false}")
    assert cli("check", *known, *options).code == 0
    outcome = cli("fit", *known, "--data.environment", "CartPol-v1")
    assert outcome.code == 1
    assert outcome.error.startswith(
        "Environments: 'CartPol-v1' is no environment of gymnasium, and none in torch; did you"
    )
    assert not list(Path().glob("runs/*/*"))
