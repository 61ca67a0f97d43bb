"""What the package takes from private interfaces still does what it did in the versions named here."""

import copy
import io
from pathlib import Path
from typing import Any

import jsonargparse
import lightning
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher
from torch.utils.checkpoint import checkpoint

from discrete_lightning.cli import _jsonargparse_private
from discrete_lightning.functional import _torch_private
from discrete_lightning.training import _lightning_private

CHECKED = {"torch": "2.13", "lightning": "2.6.6", "jsonargparse": "4.53"}
THERE = {"torch": torch.__version__, "lightning": lightning.__version__, "jsonargparse": jsonargparse.__version__}


def changed(package: str) -> str:
    return (
        f"{package} {THERE[package]} differs from {CHECKED[package]}, with which its private interface was last checked"
    )


def test_torch_tells_of_transforms_and_backward_passes() -> None:
    seen: list[tuple[bool, bool]] = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append((_torch_private.under_functorch(), _torch_private.in_backward()))
        return x.exp()  # saves a tensor, so checkpointing runs it again

    look(torch.ones(2))
    torch.func.vmap(look)(torch.ones(2))
    x = torch.ones(2, requires_grad=True)
    checkpoint(look, x, use_reentrant=False).sum().backward()  # type: ignore[union-attr]
    assert seen == [(False, False), (True, False), (False, False), (False, True)], changed("torch")


def test_torchs_gradient_of_softmax() -> None:
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    g = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    soft = torch.softmax(x, -1)
    (expected,) = torch.autograd.grad(soft, x, g)
    torch.testing.assert_close(_torch_private.softmax_backward(g, soft.detach()), expected, msg=changed("torch"))
    written = torch.empty_like(g)
    _torch_private.softmax_backward(g, soft.detach(), written)
    torch.testing.assert_close(written, expected, msg=changed("torch"))


def test_torch_tells_of_gradients_in_batches() -> None:
    seen: list[bool] = []
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: seen.append(_torch_private.is_batched(g)))
    torch.autograd.grad(y, x, torch.ones(2), retain_graph=True)
    torch.autograd.grad(y, x, torch.ones(3, 2), is_grads_batched=True)
    assert seen == [False, True], changed("torch")


class Counting(LightningModule):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[int] = []
        self.path = path

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.seen.append(_lightning_private.batches_begun(self.trainer) - batch_idx)
        if batch_idx == 3:
            self.trainer.save_checkpoint(self.path)
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def test_lightnings_counters_and_checkpoints(tmp_path: Path) -> None:
    trainer = Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu",
    )  # fmt: skip
    model = Counting(tmp_path / "a.ckpt")
    trainer.fit(model, torch.utils.data.DataLoader(torch.zeros(5, 1)))
    assert model.seen == [1] * 5, changed("lightning")
    dumped: dict[str, Any] = torch.load(model.path, weights_only=True)
    rewound = copy.deepcopy(dumped)
    _lightning_private.rewind_batches(rewound, 1)
    progress = rewound["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    assert progress["current"] == {"ready": 1, "completed": 1, "started": 1, "processed": 1}, changed("lightning")
    assert progress["total"] == progress["current"], changed("lightning")
    assert dumped["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["completed"] == 3
    assert set(dumped) >= {"state_dict", "optimizer_states", "loops"}, changed("lightning")


def test_lightning_is_called_between_batches() -> None:
    trainer = Trainer(
        max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", accumulate_grad_batches=2,
    )  # fmt: skip
    seen: list[tuple[int, bool]] = []

    def ask(trainer: Trainer) -> None:
        seen.append((trainer.global_step, _lightning_private.is_between_steps(trainer)))

    assert hasattr(trainer.fit_loop.epoch_loop, "_broadcast_sigterm_tensor"), changed("lightning")
    _lightning_private.call_between_batches(trainer, ask)
    trainer.fit(Counting(Path()), torch.utils.data.DataLoader(torch.zeros(3, 1)))
    once = [(0, True), (0, False), (1, True)]
    assert seen == [*once, *((step + 2, whole) for step, whole in once)], changed("lightning")
    _lightning_private.call_between_batches(trainer, None)
    assert "advance" not in vars(trainer.fit_loop.epoch_loop)


def test_lightnings_loops_have_what_resuming_uses() -> None:
    trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.fit_loop.max_epochs = 1
    fit, epoch, connector = trainer.fit_loop, trainer.fit_loop.epoch_loop, trainer._logger_connector
    names = {
        fit: "run setup_data reset on_run_start on_advance_start advance on_advance_end on_iteration_done on_run_end done "
        "_combined_loader _restarting _loaded_from_state_dict _resuming_from_checkpoint _restart_stage reset_restart_stage "
        "_last_train_dl_reload_epoch epoch_progress max_batches",
        epoch: "reset on_run_start on_advance_end _on_before_fetch _on_after_fetch _num_ready_batches_reached "
        "_batches_that_stepped update_lr_schedulers batch_progress _results",
        epoch.val_loop: "setup_data _combined_loader _last_val_dl_reload_epoch",
        connector: "on_epoch_end epoch_end_reached update_train_epoch_metrics _first_loop_iter _current_fx _callback_metrics "
        "_logged_metrics _progress_bar_metrics",
        trainer.strategy: "process_dataloader reduce",
    }
    for owner, each in names.items():
        assert [name for name in each.split() if not hasattr(owner, name)] == [], changed("lightning")
    fetcher = _PrefetchDataFetcher()
    assert [
        name for name in ("_start_profiler", "_stop_profiler", "fetched", "done") if not hasattr(fetcher, name)
    ] == []


def test_lightning_reads_checkpoints_without_their_tensors(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3), "text": "a"}, tmp_path / "file.ckpt")
    for source in (tmp_path / "file.ckpt", io.BytesIO((tmp_path / "file.ckpt").read_bytes())):
        values = _lightning_private.read_values(source, weights_only=True)
        assert values["text"] == "a", changed("lightning")
        assert values["weight"].is_meta, changed("lightning")
    assert source.tell() == 0  # type: ignore[union-attr]
    assert _lightning_private.class_of_config() == {}, changed("lightning")

    class Loading:
        @_lightning_private.class_only_method
        def load(cls) -> str:
            return cls.__name__

    assert Loading.load() == "Loading", changed("lightning")
    with pytest.raises(TypeError, match="cannot be called on an instance"):
        Loading().load()


def test_jsonargparses_settings_are_put_back() -> None:
    from jsonargparse._common import parsing_settings

    before = dict(parsing_settings)
    with _jsonargparse_private.parsing_rules(import_path_denylist=["*"]):
        assert dict(parsing_settings) != before, changed("jsonargparse")
    assert dict(parsing_settings) == before, changed("jsonargparse")
