"""Every family in every precision and strategy of Lightning and torch: it trains and keeps its state, or says what to change.

FSDPStrategy needs a GPU in Lightning; the classes of torch that it and ModelParallelStrategy use run here on gloo.
"""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, StochasticWeightAveraging
from lightning.pytorch.tuner import Tuner
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision, fully_shard
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from discrete_lightning.callbacks import TemperatureAnnealing
from discrete_lightning.models import VQAutoencoder
from discrete_lightning.nn import (
    GumbelQuantizer,
    LearnedVectorQuantizer,
    ResidualQuantizer,
    Temperature,
    VectorQuantizer,
    update_codebooks_after_step,
)
from discrete_lightning.schedules import Linear
from tests.ranks import run_on_ranks
from tests.tables.faults import cases
from tests.tables.makers import LAYERS, MODELS, Layer, Network, loss_of, protected, results, vectors
from tests.tables.test_models import data, run
from tests.tiny_images import quiet_trainer
from tests.vq.quantizers.makers import SINGLE

pytestmark = [
    pytest.mark.filterwarnings("ignore:the choices are still undecided"),
    pytest.mark.filterwarnings("ignore:The `training_step` returned"),
    pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU"),
]

FAMILIES: dict[str, Callable[[], LightningModule]] = {
    "ema": lambda: VQAutoencoder(ResidualQuantizer(VectorQuantizer(8, 4), 2), hidden=4),
    "learned": lambda: VQAutoencoder(LearnedVectorQuantizer(8, 4), hidden=4),
    "gumbel": lambda: VQAutoencoder(GumbelQuantizer(8, 4), hidden=4),
    "learned_temperature": lambda: VQAutoencoder(
        GumbelQuantizer(8, 4, temperature=Temperature(1.0, learnable=True)), hidden=4
    ),
    **{name: MODELS[name] for name in ("CategoricalVAE", "BernoulliVAE", "ArchitectureSearch", "SequenceDesigner")},
}
PRECISIONS = ("32-true", "16-mixed", "64-true")  # bf16-mixed and bf16-true: test_models.py
ANNEALED = ("gumbel", "CategoricalVAE", "BernoulliVAE", "SequenceDesigner")
AUTOMATIC = [name for name in FAMILIES if name not in ("ArchitectureSearch", "SequenceDesigner")]


def family(name: str) -> LightningModule:
    seed_everything(0, verbose=False)
    return FAMILIES[name]()


def annealing(name: str) -> list[Callback]:
    return [TemperatureAnnealing(Linear(1.0, 0.1, steps=4))] if name in ANNEALED else []


def fit(name: str, model: LightningModule, *callbacks: Callback, **arguments: Any) -> Trainer:
    return run("fit", name, model, callbacks=[*annealing(name), *callbacks], **arguments)


def numbers(module: nn.Module) -> dict[str, Any]:
    """Everything but weights that must be the run's: numbers, flags, seeds, temperatures."""
    kept = set(dict(module.named_parameters(remove_duplicate=False))) | {
        name for name, value in module.named_buffers(remove_duplicate=False) if value.is_floating_point()
    }
    saved = module.state_dict()
    return {name: value.tolist() for name, value in saved.items() if name not in kept and isinstance(value, Tensor)}


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision(name: str, precision: str) -> None:
    model = family(name)
    before, dtypes = state(model), protected(model)
    fit(name, model, precision=precision)
    assert protected(model) == dtypes
    assert any(not torch.equal(before[key], value) for key, value in state(model).items())
    assert all(each.isfinite().all() for each in model.parameters())


@pytest.mark.parametrize(
    "case",
    cases("averaging", ["ema-ArchitectureSearch", *(f"{how}-{name}" for how in ("ema", "swa") for name in AUTOMATIC)]),
)
def test_weight_averaging_leaves_numbers_as_they_are(case: str) -> None:
    average, _, name = case.partition("-")
    plain, averaged = family(name), family(name)
    fit(name, plain, max_epochs=2)
    callback = EMAWeightAveraging(decay=0.9) if average == "ema" else StochasticWeightAveraging(0.01, swa_epoch_start=1)
    fit(name, averaged, callback, max_epochs=2)
    assert numbers(averaged) == numbers(plain)


@pytest.mark.parametrize("make", [EMAWeightAveraging, lambda: StochasticWeightAveraging(0.01)])
def test_designs_are_not_averaged(make: Callable[[], Callback]) -> None:
    with pytest.raises(ValueError, match="SequenceDesigner holds sequences, which have no mean"):
        fit("SequenceDesigner", family("SequenceDesigner"), make())


@pytest.mark.parametrize("name", AUTOMATIC)
def test_the_tuner_leaves_the_model_as_it_was(name: str, tmp_path: Any) -> None:
    """It trains, and loads the checkpoint that it saved before."""
    model = family(name)
    model.learning_rate = 1e-3
    before = state(model)
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=annealing(name))
    seed_everything(1, verbose=False)
    Tuner(trainer).lr_find(model, data(name), num_training=3, update_attr=False)
    after = state(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    fit(name, model)


@pytest.mark.parametrize("name", FAMILIES)
def test_deterministic_algorithms(name: str) -> None:
    """On a CPU; on CUDA torch raises for more operations, as a sum of floats along a dimension (cumsum)."""
    model, again = family(name), family(name)
    try:
        fit(name, model, deterministic=True)
        fit(name, again, deterministic=True)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


class NoFloat64(TorchDispatchMode):
    """Refuses float64 as MPS does; but for draws, which take another branch on MPS, and for decisions of architectures, which
    are made on the host (both: tests/harness/test_device.py)."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if any(isinstance(each, Tensor) and each.dtype == torch.float64 for each in tree_leaves(result)):
            frame: Any = sys._getframe(1)
            while frame is not None and "/discrete_lightning/" not in frame.f_code.co_filename:
                frame = frame.f_back
            where = "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
            if "/functional/" not in where and "/nas/choice.py" not in where:
                raise TypeError(f"Cannot convert a MPS Tensor to float64 dtype: {function} {where}")
        return result


@pytest.mark.parametrize("name", cases("model float64", FAMILIES))
def test_a_run_computes_nothing_in_float64(name: str) -> None:
    """Training, validation, losses, metrics and annealing."""
    model = family(name)
    with NoFloat64():
        fit(name, model)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own, traced
@pytest.mark.parametrize("name", [name for name in AUTOMATIC if name != "learned_temperature"])
def test_compiled_submodules(name: str) -> None:
    """`module.compile()` of the parts; the values are those of the eager run."""
    eager, compiled = family(name), family(name)
    for part in compiled.children():
        if isinstance(part, nn.Sequential):
            part.compile(backend="eager")
    fit(name, eager)
    fit(name, compiled)
    for key, value in state(eager).items():
        torch.testing.assert_close(state(compiled)[key], value, msg=key)


# FSDP, and FSDP2 (ModelParallelStrategy)


def test_no_parameter_is_a_scalar() -> None:
    """fully_shard refuses parameters without a dimension."""
    for name, layer in LAYERS.items():
        assert all(each.ndim for each in layer.build().parameters()), name
    for make in MODELS.values():
        assert all(each.ndim for each in make().parameters())


class Sharded(Network):
    """Network without a scalar parameter."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer)
        self.scale = nn.Parameter(torch.ones(1))


_SHARDED = ("ema", "gumbel", "large_gumbel", "finite_scalar", "lookup_free", "residual_ema", "residual_finite_scalar",
            "Temperature", "Temperature_learned", "LossWeight", "EntropyBonus", "KLToPrior", "OneOf", "RelaxedEmbedding",
            "RelaxedCategorical_GumbelSoftmax", "learned", "index_backpropagation", "sim",
            "differentiable", "perturbation", "MixtureOfExperts", "BiasBalancedRouter", "TokenGate")  # fmt: skip
# codes that only the optimiser moves
FIXED = {
    "fixed": Layer(lambda: LearnedVectorQuantizer(8, 4, kmeans_iterations=0, revive_below=0.0, follow=0.0), vectors),
    "fixed_gumbel": Layer(
        lambda: GumbelQuantizer(8, 4, kmeans_iterations=0, revive_below=0.0, code_rate=1.0, follow=0.0), vectors
    ),
}
_REFUSED_BY_FSDP = {"ema": "buffer_dtype=torch.float32", "residual_ema": "buffer_dtype=torch.float32",
                    "learned": "buffer_dtype=torch.float32", "gumbel": "buffer_dtype=torch.float32",
                    "index_backpropagation": "buffer_dtype=torch.float32", "sim": "buffer_dtype=torch.float32",
                    "differentiable": "buffer_dtype=torch.float32"}  # fmt: skip


# FSDP with 16-bit buffers is said to a layer that is called; ArchitectureSearch refuses every strategy but ddp
SHARDED = {"whole": [*_SHARDED, *FIXED], "fsdp2": [*_SHARDED, *FIXED]}
SHARDED["bf16"] = [name for name in SHARDED["fsdp2"] if name != "OneOf"]


def _shard(network: nn.Module, how: str) -> nn.Module:
    if how == "fsdp2":
        return fully_shard(network, mesh=init_device_mesh("cpu", (torch.distributed.get_world_size(),)))
    dtype = torch.bfloat16 if how == "bf16" else torch.float32
    mixed = MixedPrecision(param_dtype=dtype, reduce_dtype=dtype, buffer_dtype=dtype)
    cpu = torch.device("cpu")
    return FullyShardedDataParallel(network, mixed_precision=mixed, device_id=cpu, use_orig_params=True)


def _train_sharded(name: str, how: str) -> dict[str, Any] | str:
    layer = FIXED[name] if name in FIXED else LAYERS[name]
    network = Sharded(layer.build())
    before = protected(network)
    whole = network if how == "whole" else _shard(network, how)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    update_codebooks_after_step(network, optimizer)
    temperatures = [each for each in network.modules() if isinstance(each, Temperature) and not each.learnable]
    try:
        for step in range(3):
            for each in temperatures:
                each.set(0.7005 - step / 100)
            torch.manual_seed(step)
            found = results(whole, layer.arguments(network.layer, seed=step))
            optimizer.zero_grad()
            if any(each.requires_grad for each in found):
                loss_of(found).backward()
            optimizer.step()
    except (TypeError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    assert all(each().item() == torch.tensor(0.6805).item() for each in temperatures)
    assert protected(network) == before
    saved = network.state_dict() if how in ("whole", "fsdp2") else {}
    return {key: value.full_tensor() if hasattr(value, "full_tensor") else value for key, value in saved.items()}


def on_a_rank() -> dict[str, dict[str, Any]]:
    torch.set_num_threads(1)
    return {how: {name: _train_sharded(name, how) for name in names} for how, names in SHARDED.items()}


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, dict[str, Any]]]:
    return run_on_ranks(on_a_rank)


_WRITES = {"learned": "LearnedVectorQuantizer", "gumbel": "GumbelQuantizer",
           "index_backpropagation": "IndexBackpropagationQuantizer",
           "differentiable": "DifferentiableVectorQuantizer"}  # fmt: skip
NOISE_OF_EACH_RANK = (
    "perturbation",
    "fixed_gumbel",
    "large_gumbel",
    "RelaxedCategorical_GumbelSoftmax",
)  # gradients are averaged only if sharded


@pytest.mark.parametrize("name", SHARDED["fsdp2"])
def test_sharded_by_fsdp2(ranks: list[dict[str, dict[str, Any]]], name: str) -> None:
    found, expected = ranks[0]["fsdp2"][name], ranks[0]["whole"][name]
    if name in _WRITES:
        assert f"{_WRITES[name]}.codes is sharded" in found
        if name == "index_backpropagation":  # whatever its arguments
            assert found.endswith("leave it out (ignored_params of fully_shard)")
            return
        rate = "code_rate=1, " if name == "gumbel" else ""
        assert f"give kmeans_iterations=0, revive_below=0, {rate}follow=0" in found
        return
    assert isinstance(found, dict), found
    assert found.keys() == expected.keys()
    if name not in NOISE_OF_EACH_RANK:
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, msg=key)
    for key, value in found.items():
        assert torch.equal(value, ranks[1]["fsdp2"][name][key]), key


@pytest.mark.parametrize("name", SHARDED["bf16"])
def test_fsdp_with_16_bit_buffers(ranks: list[dict[str, dict[str, Any]]], name: str) -> None:
    """What FSDPStrategy sets for bf16-mixed and bf16-true."""
    found = ranks[0]["bf16"][name]
    refusal = _REFUSED_BY_FSDP.get({"fixed": "learned", "fixed_gumbel": "gumbel"}.get(name, name))
    if refusal is None:
        assert isinstance(found, dict), found
    else:
        assert refusal in found


def test_the_table_of_shards_has_every_quantiser_with_state_of_its_own() -> None:
    assert {"ema", "learned", "gumbel", "large_gumbel", "finite_scalar", "lookup_free"} <= set(SINGLE) & set(_SHARDED)
