"""Tokens that are chosen in blocks against the same without blocks: rows, indices and all gradients, for every estimator."""

import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank
from discrete_lightning.estimators import Estimator, GumbelSoftmax, LeaveOneOut, StraightThrough, StraightThroughGumbel
from discrete_lightning.functional._random import numbered_seed
from discrete_lightning.nn import Temperature
from discrete_lightning.text import TokenChoice
from discrete_lightning.text.chosen_rows import Tables
from tests.ranks import run_on_ranks
from tests.references.every_estimator import PATHWISE
from tests.references.goodness_of_fit import chi_square_p

N, V, H, C, ROWS = 11, 6, 4, 3, 4
PLAIN = [each for each in PATHWISE if each.categorical]


@dataclass(frozen=True)
class FromDefaultGenerator(Estimator):
    """As a user's may be: noise of torch's own function."""

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return nn.functional.gumbel_softmax(logits, float(torch.as_tensor(tau).detach()), hard=True)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["discrete_lightning.text.chosen_rows"], "_ELEMENTS", V * ROWS)


def inputs(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = [(N, H), (V, H), (V,), (V, C)]
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [each.to(dtype).requires_grad_() for each in drawn]


def plain(estimator: Estimator, tensors: list[Tensor], tau: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """All samples at once, of the noise that the blocks draw."""
    x, weight, bias, table = tensors
    logits = x @ weight.T + bias
    parts = []
    for i, part in enumerate(logits.split(ROWS)):
        generator = torch.Generator().manual_seed(numbered_seed(seed, i * ROWS))
        if isinstance(estimator, FromDefaultGenerator):
            torch.manual_seed(numbered_seed(seed, i * ROWS))
        parts.append(estimator(part, tau, generator))
    sample = torch.cat(parts)
    return sample @ table, sample.argmax(-1)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("estimator", [*PLAIN, FromDefaultGenerator()], ids=repr)
def test_rows_and_gradients_equal_those_of_all_samples_at_once(estimator: Estimator) -> None:
    tensors = inputs()
    tau = Temperature(0.7, learnable=True)
    slopes = torch.randn(N, C, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before = torch.get_rng_state()
    found = TokenChoice(estimator, tau).choose(*tensors, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    expected, chosen = plain(estimator, tensors, tau().double(), 5)
    assert torch.equal(found.indices, chosen)
    torch.testing.assert_close(found.rows, expected, rtol=1e-5, atol=1e-5)
    assert_same_gradients(found.rows.square() * slopes, expected.square() * slopes, [*tensors, tau.raw])


def assert_same_gradients(mine: Tensor, theirs: Tensor, wanted: list[Tensor]) -> None:
    gradients = [torch.autograd.grad(each.sum(), wanted, allow_unused=True) for each in (mine, theirs)]
    for found, expected in zip(*gradients, strict=True):
        zeros = torch.zeros(())
        found, expected = (zeros if each is None else each for each in (found, expected))
        torch.testing.assert_close(found, expected.broadcast_to(found.shape), rtol=1e-5, atol=1e-5, check_dtype=False)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("estimator", [StraightThrough(), GumbelSoftmax()], ids=repr)
def test_steps_add_their_gradients_up(estimator: Estimator, tied: bool) -> None:
    """Two steps through the same tables, the second made again from what is known; then the graph is used twice."""
    x, weight, bias, table = inputs()
    other, choice = torch.randn(V, 2, dtype=torch.float64, requires_grad=True), TokenChoice(estimator, 0.7)
    tables = Tables(weight, bias, (weight, other) if tied else (table, other))
    with torch.no_grad():
        known = choice.step(x.flip(0), tables, 2)
    first = choice.step(x, tables, 1)
    second = choice.step(x.flip(0), first.tables, 2, known)
    plain_first, plain_second = (
        [plain(estimator, [each, weight, bias, rows], torch.tensor(0.7), seed)[0] for rows in tables.tables]
        for each, seed in ((x, 1), (x.flip(0), 2))
    )
    wanted = [x, weight, bias, table, other]
    mine = [*first.rows, *second.rows]
    theirs = [*plain_first, *plain_second]
    for some in ([0, 1, 2, 3], [0], [3], [1, 2]):
        found, expected = (torch.cat([each[i].sin().sum(1) for i in some]) for each in (mine, theirs))
        gradients = [
            torch.autograd.grad(e.sum(), wanted, allow_unused=True, retain_graph=True) for e in (found, expected)
        ]
        for a, b in zip(*gradients, strict=True):
            if b is None:
                assert a is None or not a.any()
            else:
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    alone = torch.autograd.grad(mine[3].sum(), x, retain_graph=True)[0]  # and that leaves nothing behind
    assert alone.any()
    assert_same_gradients(
        torch.cat([each.sum(1) for each in mine]), torch.cat([each.sum(1) for each in theirs]), wanted
    )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("estimator", PLAIN, ids=repr)
def test_what_is_kept_does_not_grow_with_the_vocabulary(estimator: Estimator) -> None:
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    x, weight, bias, table = (torch.randn(shape, requires_grad=True) for shape in [(60, 2), (V, 2), (V,), (V, 2)])
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        TokenChoice(estimator).choose(x, weight, bias, table)
    assert max(kept) <= 60 * 2  # 360 for the samples


def test_eval_looks_up_the_most_likely_token_or_draws_exactly() -> None:
    x, weight, bias, table = inputs()
    choice = TokenChoice().eval()
    found = choice.choose(x, weight, bias, table)
    assert torch.equal(found.indices, (x @ weight.T + bias).argmax(-1))
    assert torch.equal(found.rows, table[found.indices])
    assert torch.autograd.grad(found.rows.sum(), [x, table], allow_unused=True)[0] is None
    draws = TokenChoice(evaluation="draw").eval().choose(x[:1].expand(20_000, H), weight, bias, table, seed=0).indices
    p = torch.softmax(x[0] @ weight.T + bias, -1)
    assert chi_square_p(torch.bincount(draws, minlength=V), p.detach()) > 1e-3


@pytest.mark.parametrize("estimator", PLAIN, ids=repr)
def test_tokens_are_drawn_from_the_softmax(estimator: Estimator) -> None:
    x, weight, bias, table = inputs()
    found = TokenChoice(estimator, 0.7).choose(x[:1].expand(20_000, H), weight, bias, table, seed=1).indices
    logits = x[0] @ weight.T + bias
    if not (estimator == StraightThrough(backward_tau=0.7) or type(estimator).__name__ == "Softmax"):
        assert chi_square_p(torch.bincount(found, minlength=V), torch.softmax(logits, -1).detach()) > 1e-4
    elif estimator == StraightThrough(backward_tau=0.7):
        assert chi_square_p(torch.bincount(found, minlength=V), torch.softmax(logits / 0.7, -1).detach()) > 1e-4
    else:
        assert (found == logits.argmax()).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    half = inputs(dtype)
    full = [each.detach().float().requires_grad_() for each in half]
    for estimator in PLAIN:
        choice = TokenChoice(estimator, 0.7)
        with torch.autocast("cpu", torch.bfloat16):
            mine = choice.choose(*half, seed=3)
        theirs = choice.choose(*full, seed=3)
        assert mine.rows.dtype == torch.float32
        assert torch.equal(mine.rows, theirs.rows)
        assert torch.equal(mine.indices, theirs.indices)
        found = torch.autograd.grad(mine.rows.square().sum(), half)
        expected = torch.autograd.grad(theirs.rows.square().sum(), full)
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == dtype
            torch.testing.assert_close(a.float(), b, rtol=2e-2, atol=2e-2)


def test_no_rows() -> None:
    x, weight, bias, table = inputs()
    for estimator in (StraightThrough(), StraightThroughGumbel()):
        found = TokenChoice(estimator).choose(x[:0], weight, bias, table)
        assert found.rows.shape == (0, C)
        assert found.indices.shape == (0,)
        found.rows.sum().backward()


def test_bad_input_is_refused() -> None:
    x, weight, bias, table = inputs()
    with pytest.raises(ValueError, match="LeaveOneOut"):
        TokenChoice(LeaveOneOut())
    with pytest.raises(ValueError, match=r"do not fit: got \(11, 4\), \(6, 4\), \(6,\), \(5, 3\)"):
        TokenChoice().choose(x, weight, bias, table[:5])
    for estimator in PLAIN:
        with pytest.raises(ValueError, match=r"not finite|no distribution"):
            TokenChoice(estimator).choose(x * float("nan"), weight, bias, table)


def test_hooks_see_the_logits() -> None:
    choice, seen = TokenChoice(StraightThrough()), []
    choice.register_forward_hook(lambda layer, arguments, output: seen.append(output.shape))
    x, weight, bias, table = inputs()
    found = choice.choose(x, weight, bias, table, seed=0)
    assert seen == [(N, V)]
    assert torch.equal(found.rows, table[found.indices])


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")
@pytest.mark.parametrize("estimator", [StraightThrough(), StraightThroughGumbel()], ids=repr)
def test_a_step_compiles(estimator: Estimator) -> None:
    torch.compiler.reset()
    choice = TokenChoice(estimator)
    x, weight, bias, table = (each.detach().float().requires_grad_() for each in inputs())

    def step(x: Tensor) -> tuple[Tensor, Tensor]:
        return choice.choose(x, weight, bias, table)

    found = torch.compile(step, backend="aot_eager", fullgraph=True)(x)
    assert torch.equal(found[0], table[found[1]])
    found[0].square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def _chosen_here() -> Any:
    torch.manual_seed(3)
    x, weight, bias, table = (torch.zeros(shape) for shape in [(400, H), (V, H), (V,), (V, C)])
    return rank(), {repr(each): TokenChoice(each).choose(x, weight, bias, table).indices for each in PLAIN}


def test_noise_is_each_ranks_own() -> None:
    (_, first), (_, second) = run_on_ranks(_chosen_here)
    for name in first:
        same = (first[name] == second[name]).float().mean()
        assert same < 0.3 or name == "Softmax()", name  # 1/6 of independent draws: 7 standard deviations
