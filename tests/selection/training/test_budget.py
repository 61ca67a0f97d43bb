"""The callback Budget: the deployed gates meet the budget in every way to train, exactly after a resumption, on two ranks."""

import copy
import os
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from discrete_lightning.selection import BudgetError, Gate, GateLayer, SelectK, StochasticGate, gate_layers, open_gates
from discrete_lightning.selection.derive import derive
from discrete_lightning.selection.network_cost import NetworkCost, count_flops
from discrete_lightning.selection.training import Budget
from tests.ranks import run_on_ranks
from tests.selection.training.gated_rows import COLUMNS, HIDDEN, GatedRows, built, fit, rows
from tests.tables.holder import Memory
from tests.tiny_images import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step`")


def opened(module: nn.Module) -> list[int]:
    return [int(each.open().sum()) for each in gate_layers(module).values()]


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulate_grad_batches": 3},
    "bf16": {"precision": "bf16-mixed"},
    "clipped": {"gradient_clip_val": 0.1},
    "steps": {"max_epochs": -1, "max_steps": 20},
    "no_validation": {"limit_val_batches": 0},
}


@pytest.mark.filterwarnings("ignore:You defined a .validation_step.")
@pytest.mark.parametrize("way", WAYS)
def test_the_deployed_gates_meet_the_budget(way: str) -> None:
    module, budget = built(), Budget(6)
    fit(module, budget, **WAYS[way])
    assert sum(opened(module)) == 6
    assert all(each.held for each in gate_layers(module).values())


def test_a_share_of_the_flops_is_met_by_the_derived_network() -> None:
    module = built()
    fit(module, Budget(0.4, "flops"))
    x = torch.zeros(1, COLUMNS)
    cost = NetworkCost(module, x)
    share = count_flops(derive(module, x), x) / cost.dense
    assert 0.3 < share <= 0.4


def test_each_layer_meets_its_own_share() -> None:
    module = built()
    trainer = fit(module, Budget(0.5, scope="layer"), logger=Memory())
    assert opened(module) == [COLUMNS // 2, HIDDEN // 2]
    names = {key for _, row in trainer.logger.rows for key in row}  # type: ignore[union-attr]
    figures = ("cost", "target", "expected", "weight")
    assert {f"budget/{layer}/{name}" for layer in ("columns", "hidden") for name in figures} <= names


def test_it_logs_the_target_as_it_falls_and_what_is_deployed() -> None:
    trainer = fit(built(), Budget(5, start=0.25, end=0.75, settle=0.8), logger=Memory())
    rows = [row for _, row in trainer.logger.rows]  # type: ignore[union-attr]
    targets = [row["budget/target"] for row in rows if "budget/target" in row]
    assert targets[0] == COLUMNS + HIDDEN
    assert targets[-1] == 5
    assert targets == sorted(targets, reverse=True)
    costs = [row["budget/cost"] for row in rows if "budget/cost" in row]
    assert len(costs) == 4
    assert costs[-1] == 5
    assert any(row.get("budget/weight", 0) > 0 for row in rows)


@pytest.mark.parametrize("gate", [StochasticGate(COLUMNS), SelectK(4, COLUMNS), Gate(COLUMNS, per="batch")])
def test_every_kind_of_gate(gate: GateLayer) -> None:
    module = built(columns=gate)
    fit(module, Budget(7))
    assert sum(opened(module)) == 7


def test_training_goes_on_with_the_held_decision() -> None:
    """From `settle` on the gates of every pass are the ones that are deployed."""
    module, seen = built(), []
    module.columns.register_forward_hook(lambda layer, args, output: seen.append((output != 0).sum(1)))
    fit(module, Budget(6, settle=0.75), limit_val_batches=0, num_sanity_val_steps=0)
    last = torch.cat(seen[-6:])
    assert (last == module.columns.open().sum()).all()
    assert len(torch.cat(seen[:6]).unique()) > 1


def test_a_new_run_starts_without_a_decision() -> None:
    module, budget = built(), Budget(6)
    fit(module, budget)
    multipliers = dict(budget.controller.multipliers)
    twin = built()
    twin.load_state_dict(module.state_dict())
    fit(module, budget)
    fit(twin, new := Budget(6))
    assert budget.controller.multipliers == new.controller.multipliers != multipliers
    torch.testing.assert_close(module.state_dict(), twin.state_dict(), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_resumed_run_is_the_run(epochs: int, tmp_path: Path) -> None:
    """Stopped before, while and after the target falls."""

    def keep() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)

    alone: dict[str, Any] = {"limit_val_batches": 0, "num_sanity_val_steps": 0}
    whole, budget = built(), Budget(6)
    fit(whole, budget, keep(), enable_checkpointing=True, **alone)
    resumed, other = built(), Budget(6)
    fit(resumed, other, ckpt_path=str(tmp_path / f"epoch={epochs - 1}.ckpt"), **alone)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    assert other.controller.multipliers == budget.controller.multipliers != {}
    assert sum(opened(resumed)) == 6


def test_the_multipliers_are_in_the_checkpoint(tmp_path: Path) -> None:
    budget = Budget(6)
    trainer = fit(built(), budget, max_epochs=3)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    saved = torch.load(tmp_path / "run.ckpt", weights_only=True)["callbacks"]["Budget"]
    assert saved["multipliers"] == budget.controller.multipliers
    assert saved["expected"] == budget.controller.expected  # what is logged once the decision is held
    assert saved["multipliers"][""] > 0


def test_a_checkpoint_from_before_is_tested_within_the_budget(tmp_path: Path) -> None:
    module = built()
    fit(module, ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1), Budget(6), enable_checkpointing=True)
    dense = GatedRows()
    dense.load_state_dict(torch.load(tmp_path / "epoch=0.ckpt", weights_only=True)["state_dict"])
    assert sum(opened(dense)) > 6
    quiet_trainer(callbacks=[Budget(6)]).test(dense, rows(32), verbose=False)
    assert sum(opened(dense)) == 6


class WithTwoOptimizers(GatedRows):
    """WithTwoOptimizers optimisers by hand; `how` says who trains the gates."""

    def __init__(self, how: str = "second") -> None:
        super().__init__()
        self.how, self.automatic_optimization = how, False
        self.steps: list[float] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:  # type: ignore[override]
        first, second = self.optimizers()  # type: ignore[misc]
        loss = (self(batch[0]) - batch[1]).square().mean()
        first.zero_grad()
        second.zero_grad()
        self.manual_backward(loss)
        first.step()
        second.step()

    def configure_optimizers(self) -> Any:
        gates = [self.columns.logits, self.hidden.log_alpha]
        known = {id(each) for each in gates}
        others = [each for each in self.parameters() if id(each) not in known]
        split = {"second": ([], gates), "both": (gates[:1], gates[1:]), "neither": ([], others[:1])}[self.how]
        return [torch.optim.Adam(split[0] + others, lr=0.01), torch.optim.Adam(split[1], lr=0.01)]


def test_only_the_step_of_the_gates_optimiser_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    module, budget = WithTwoOptimizers(), Budget(6)
    controller = type(budget.controller)
    original = controller.add_gradient
    monkeypatch.setattr(controller, "add_gradient", lambda self, *args: (calls.append(1), original(self, *args)))
    fit(module, budget)
    assert len(calls) == 4 * 6
    assert sum(opened(module)) == 6


@pytest.mark.filterwarnings("ignore:.*same parameter")
@pytest.mark.parametrize(
    ("module", "budget", "message"),
    [
        (built(), Budget(21), "the budget is 21, and all gates together cost 20"),
        (built(), Budget(1), "the budget is 1, and with one gate left in each layer the cost is 2"),
        (WithTwoOptimizers("both"), Budget(6), "2 optimisers train them"),
        (WithTwoOptimizers("neither"), Budget(6), "0 of their 2 parameters are trained"),
    ],
)
def test_what_cannot_work_is_refused_before_training(module: LightningModule, budget: Budget, message: str) -> None:
    with pytest.raises((BudgetError, ValueError), match=message) as caught:
        fit(module, budget)
    assert "\n" not in str(caught.value)


def test_flops_need_an_example() -> None:
    module = built()
    module.example_input_array = None
    with pytest.raises(ValueError, match=r"set self\.example_input_array"):
        fit(module, Budget(0.5, "flops"))


def test_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="cost must be 'gates'"):
        Budget(5, "time")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scope='layer' counts the open gates"):
        Budget(0.5, "flops", scope="layer")
    with pytest.raises(ValueError, match="target is a cost"):
        Budget(1.5)


def test_a_run_that_ends_early_says_so() -> None:
    class Stop(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.should_stop = True

    module = built()
    with pytest.warns(UserWarning, match="training ended after .*% of the run, before the gates were settled"):
        fit(module, Budget(6), Stop())
    assert sum(opened(module)) == 6


def _on_a_rank(port: int) -> list[Any]:
    rank = torch.distributed.get_rank()
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    found = []
    for precision in ("32-true", "bf16-mixed"):
        module, budget = built(), Budget(6)
        fit(module, budget, strategy="ddp", devices=2, precision=precision)
        gates = [module.columns.logits.detach(), module.hidden.log_alpha.detach(), module.columns.decision]
        found.append((opened(module), budget.controller.multipliers, gates))
    return found


def test_two_ranks_decide_alike() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    for first, second in zip(*run_on_ranks(_on_a_rank, port), strict=True):
        assert first[0] == second[0]
        assert sum(first[0]) == 6
        assert first[1] == second[1] != {}
        torch.testing.assert_close(first[2], second[2], rtol=0, atol=0)


def test_another_cost_in_python() -> None:
    module = built()
    fit(module, Budget(9, lambda chances: 1.5 * open_gates(chances)))
    assert sum(opened(module)) == 6


def test_copies_do_not_hold_the_module() -> None:
    budget = Budget(0.4, "flops")
    fit(built(), budget, max_epochs=1)
    for twin in (pickle.loads(pickle.dumps(budget)), copy.deepcopy(budget)):
        assert twin.controller.cost is open_gates
        assert twin.controller.multipliers == budget.controller.multipliers
        module = built()
        fit(module, twin, max_epochs=2)
        assert all(each.held for each in gate_layers(module).values())
