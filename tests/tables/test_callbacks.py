"""What holds for every callback on any LightningModule: automatic and manual optimisation, accumulation, a second
fit, an exception in the middle, and no effect on one another.
"""

import copy
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, seed_everything
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from discrete_lightning.callbacks import Annealing, DesignCallback, KeyedNoise
from discrete_lightning.data import Speech
from tests.tables.faults import cases
from tests.tables.holder import WAYS, Memory, data, holder, hooks, trainer_of
from tests.tables.makers import CALLBACKS, MODELS

pytestmark = [
    pytest.mark.filterwarnings("ignore:the choices are still undecided"),  # two epochs are too few to decide
    pytest.mark.filterwarnings("ignore:.* skip connections"),
    pytest.mark.filterwarnings("ignore:codebook .* has collapsed"),
]
# those that need designs work on modules that make them, which optimise by hand
DESIGN = [name for name, make in CALLBACKS.items() if isinstance(make(), DesignCallback)]
OF_SOUNDS = ["Sounds"]
ANY = [name for name in CALLBACKS if name not in DESIGN + OF_SOUNDS]
_OWN = [f"{name}-manual" for name in DESIGN] + [f"{name}-automatic" for name in OF_SOUNDS]
CROSSED = [f"{name}-{way}" for name in ANY for way in WAYS] + _OWN
SOME = [f"{name}-automatic" for name in ANY] + _OWN


def subject(case: str, **arguments: Any) -> LightningModule:
    name, way = case.split("-")
    if name in DESIGN:
        seed_everything(0, verbose=False)
        return MODELS["SequenceDesigner"]()
    if name in OF_SOUNDS:
        seed_everything(0, verbose=False)
        return MODELS["AudioCodec"]()
    return holder(way, **arguments)


def fit(case: str, module: LightningModule, folder: Path, *callbacks: Callback) -> tuple[dict[str, Tensor], Memory]:
    """State and what was logged; a run with the same seed as any other."""
    name, way = case.split("-")
    trainer = trainer_of(way, folder, *callbacks)
    seed_everything(1, verbose=False)
    if name in DESIGN:
        trainer.fit(module)
    elif name in OF_SOUNDS:
        trainer.fit(module, Speech(count=12, window=512, batch_size=8))
    else:
        trainer.fit(module, data(), data(4))
    if isinstance(CALLBACKS[name](), BasePredictionWriter):
        trainer.predict(module, data(), return_predictions=False)
    tensors = {key: value.clone() for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    return tensors, trainer.logger  # type: ignore[return-value]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("case", cases("callback", CROSSED))
def test_a_callback_leaves_the_run_as_it_is(case: str, tmp_path: Path) -> None:
    """Weights, codebooks and random state after a run are those of a run without it, and no hook is left."""
    callback = CALLBACKS[case.split("-")[0]]()
    module = subject(case)
    before = hooks(module)
    try:
        found, _ = fit(case, module, tmp_path, callback)
    except ValueError as refusal:
        if case.endswith("-manual") and "manual" in str(refusal):  # said before training
            return
        raise
    state = torch.get_rng_state()
    assert hooks(module) == before
    if isinstance(callback, Annealing | KeyedNoise):  # it is there to change the run
        return
    expected, _ = fit(case, subject(case), tmp_path / "without")
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("case", cases("second fit", SOME))
def test_a_second_fit_starts_afresh(case: str, tmp_path: Path) -> None:
    """What a callback logs and writes in its second fit is what a new one logs and writes."""
    make = CALLBACKS[case.split("-")[0]]
    used, new = make(), make()
    fit(case, subject(case), tmp_path / "first", used)
    _, again = fit(case, subject(case), tmp_path / "second", used)
    _, expected = fit(case, subject(case), tmp_path / "new", new)
    assert again.logged() == expected.logged()
    assert files(tmp_path / "second") == files(tmp_path / "new")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "case", cases("exception", [case for case in SOME if case.split("-")[0] not in DESIGN + OF_SOUNDS])
)
def test_an_exception_in_the_middle(case: str, error: type[BaseException], tmp_path: Path) -> None:
    """Hooks are gone, and the next fit is as the first of a new callback."""
    make = CALLBACKS[case.split("-")[0]]
    used, new = make(), make()
    module: Any = subject(case, fail_at=3, error=error)
    before, handler = hooks(module), signal.getsignal(signal.SIGINT)
    with pytest.raises((RuntimeError, SystemExit)):  # Lightning exits after an interrupt
        fit(case, module, tmp_path / "first", used)
    signal.signal(signal.SIGINT, handler)  # Lightning ignores it from then on
    assert hooks(module) == before
    module.fail_at = None
    twin: Any = copy.deepcopy(module)
    _, again = fit(case, module, tmp_path / "second", used)
    _, expected = fit(case, twin, tmp_path / "new", new)
    assert again.logged() == expected.logged()


@pytest.mark.parametrize("name", cases("callback pickle", CALLBACKS))
def test_a_callback_is_copied_and_pickled_before_and_after_a_fit(name: str, tmp_path: Path) -> None:
    """As ddp_spawn and hyper-parameter searches do."""
    case = f"{name}-{'manual' if name in DESIGN else 'automatic'}"
    callback = CALLBACKS[name]()
    twin = pickle.loads(pickle.dumps(callback))
    fit(case, subject(case), tmp_path / "one", twin)
    for each in (pickle.loads(pickle.dumps(twin)), copy.deepcopy(twin)):
        assert type(each) is type(callback)


@pytest.mark.parametrize("name", cases("pair", [name for name in ANY if name != "GradientProbe"]))
def test_the_gradient_probe_changes_nothing_that_others_log(name: str, tmp_path: Path) -> None:
    case = f"{name}-automatic"
    _, alone = fit(case, subject(case), tmp_path / "alone", CALLBACKS[name]())
    both = CALLBACKS[name](), CALLBACKS["GradientProbe"]()
    _, beside = fit(case, subject(case), tmp_path / "beside", *both)
    names = {key for _, row in alone.rows for key in row} - {"epoch"}
    assert beside.logged(names) == alone.logged(names)
