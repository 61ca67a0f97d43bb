"""A quantiser that is given a mask against the same quantiser given the real vectors alone: equal to the bit."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from discrete_lightning.distributed import rank, world_size
from discrete_lightning.losses import EntropyBonus, KLToPrior, choice_entropy, code_diversity, marginal_entropy
from discrete_lightning.nn import LookupFreeQuantizer, RelaxedEmbedding, VectorQuantizer, update_codebooks_after_step
from tests.ranks import run_on_ranks
from tests.references.inputs import seeded
from tests.vq.quantizers.makers import ALL, build, some_vectors

SHAPE = (4, 15)
LENGTHS = [[15, 9, 3, 12], [2, 15, 0, 7], [0, 0, 0, 0], [15, 15, 15, 15], [1, 5, 9, 13]]  # of four sequences, each step
every = pytest.mark.parametrize("name", ALL)


def mask_of(lengths: list[int]) -> Tensor:
    return torch.arange(SHAPE[1]) < torch.tensor(lengths).unsqueeze(1)


def with_garbage(vectors: Tensor, mask: Tensor) -> Tensor:
    """`vectors` with numbers at padding that no layer may look at."""
    garbage = torch.tensor([math.nan, math.inf, 1e30, -1e4]).to(vectors.dtype)[
        torch.arange(vectors[..., 0].numel()) % 4
    ]
    return torch.where(mask.unsqueeze(-1), vectors, garbage.view(*mask.shape, 1))


def train(
    name: str, way: str, dtype: torch.dtype = torch.float32, accumulate: int = 1, lengths: list[Any] = LENGTHS
) -> list[dict[str, Tensor]]:
    """What each pass gives at real positions, gradients included, and the state after it.

    Args:
        name: of the quantiser.
        way: "mask": all positions and their mask; "packed": only the real vectors.
        dtype: of vectors.
        accumulate: passes a step of the optimiser.
        lengths: of the sequences of each pass.
    """
    quantizer = build(name).to(dtype)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(())), *quantizer.parameters()], lr=0.05)
    update_codebooks_after_step(quantizer, optimizer)
    history = []
    for step, each in enumerate(lengths):
        mask = mask_of(each)
        vectors = some_vectors(*SHAPE, quantizer.dim, seed=100 * rank() + step).to(dtype)
        weights = some_vectors(*SHAPE, quantizer.dim, seed=50 + step)
        torch.manual_seed(step)
        if way == "mask":
            given = with_garbage(vectors, mask).requires_grad_()
            result = quantizer(given, mask)
            check_padding(result, mask)
            quantized, indices, loss, logits = (x if x is None or not x.ndim else x[mask] for x in result)
        else:
            given = vectors[mask].requires_grad_()
            quantized, indices, loss, logits = quantizer(given)
        total = (quantized.float() * weights[mask]).sum() + loss
        if logits is not None:
            total = total + logits.float().softmax(-1).square().sum()
        total.backward()
        gradient = given.grad if given.grad is not None else torch.zeros_like(given)
        if way == "mask":
            assert not gradient[~mask].any()
            gradient = gradient[mask]
        record = {"quantized": quantized, "indices": indices, "loss": loss, "gradient": gradient}
        record |= {
            f"gradient of {key}": p.grad.clone() for key, p in quantizer.named_parameters() if p.grad is not None
        }
        if (step + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
        record |= {f"state {key}": value.clone() for key, value in quantizer.state_dict().items()}
        history.append({key: value.detach() for key, value in record.items()})
    return history


def check_padding(result: Any, mask: Tensor) -> None:
    """Zeros and indices of -1."""
    assert not result.quantized[~mask].any()
    assert (result.indices[~mask] == -1).all()
    assert (result.indices[mask] >= 0).all()
    assert result.logits is None or not result.logits[~mask].any()


def assert_equal(masked: list[dict[str, Tensor]], packed: list[dict[str, Tensor]]) -> None:
    for step, (first, second) in enumerate(zip(masked, packed, strict=True)):
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert torch.equal(value, second[key]), f"{key} in step {step}"
            assert value.isfinite().all(), f"{key} in step {step}"


@every
@pytest.mark.parametrize(("dtype", "accumulate"), [(torch.float32, 2), (torch.bfloat16, 1)], ids=str)
def test_a_mask_is_as_the_real_vectors_alone(name: str, dtype: torch.dtype, accumulate: int) -> None:
    assert_equal(train(name, "mask", dtype, accumulate), train(name, "packed", dtype, accumulate))


@pytest.mark.parametrize("name", ["ema", "learned", "residual_ema_cosine", "product_learned"])
def test_the_start_waits_for_a_real_vector(name: str) -> None:
    lengths = [[0, 0, 0, 0], [9, 9, 9, 9], [0, 0, 0, 1]]
    assert_equal(train(name, "mask", lengths=lengths), train(name, "packed", lengths=lengths))


@every
def test_evaluation_decodes_to_what_it_quantised(name: str) -> None:
    quantizer, mask = build(name), mask_of(LENGTHS[0])
    vectors = some_vectors(*SHAPE, quantizer.dim)
    quantizer(vectors).loss  # noqa: B018 - codes start
    quantizer.eval()
    masked, packed = quantizer(with_garbage(vectors, mask), mask), quantizer(vectors[mask])
    check_padding(masked, mask)
    assert torch.equal(masked.quantized[mask], packed.quantized)
    assert torch.equal(masked.indices[mask], packed.indices)
    assert torch.equal(masked.loss, packed.loss)
    torch.testing.assert_close(quantizer.decode(masked.indices), masked.quantized, rtol=0, atol=1e-6)


def test_a_mask_of_the_first_dimensions_and_one_of_a_single_vector() -> None:
    quantizer = build("ema").eval()
    vectors = some_vectors(*SHAPE, 4)
    whole = torch.tensor([True, False, True, True])
    expected = quantizer(vectors, whole.unsqueeze(1).expand(SHAPE))
    assert torch.equal(quantizer(vectors, whole).indices, expected.indices)
    assert quantizer(vectors[0, 0], torch.tensor(False)).indices == -1
    assert quantizer(vectors[0, 0], torch.tensor(True)).indices >= 0


def test_a_vector_that_is_not_finite_at_a_real_position_is_still_refused() -> None:
    vectors = torch.full((3, 4), math.nan)
    with pytest.raises(ValueError, match="1 of 1 vectors to quantise are not finite"):
        VectorQuantizer(8, 4, kmeans_iterations=0)(vectors, torch.tensor([True, False, False]))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(4, 15, dtype=torch.int64), r"got torch.int64 \(4, 15\). Convert 0 and 1 with mask.bool\(\)"),
        (
            torch.ones(4, 14, dtype=torch.bool),
            r"of shape \(4, 15\) or of its first dimensions; got torch.bool \(4, 14\)",
        ),
        (torch.ones(4, 15, 4, dtype=torch.bool), r"got torch.bool \(4, 15, 4\)"),
    ],
)
def test_other_masks_are_refused(mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("ema")(torch.zeros(4, 15, 4), mask)


def test_indices_of_padding_are_of_no_code() -> None:
    indices = torch.tensor([-1, 3])
    for name in ("ema_cosine", "gumbel", "finite_scalar", "lookup_free"):
        decoded = build(name).decode(indices)
        assert not decoded[0].any()
        assert decoded[1].any()
    with pytest.raises(ValueError, match="has codes 0 to 7"):
        build("ema").decode(torch.tensor([-2]))


# Two ranks with different numbers of real positions

RANK_LENGTHS = [  # of each rank, each pass
    [[15, 9, 3, 12], [2, 15, 0, 7], [0, 0, 0, 0], [1, 5, 9, 13]],
    [[1, 0, 0, 2], [0, 0, 0, 0], [9, 9, 9, 9], [15, 15, 15, 15]],
]


def losses_of_halves() -> dict[str, tuple[Tensor, Tensor]]:
    """Masked losses of this rank's half of a batch, and their gradients as data parallelism averages them."""
    found = {}
    mask = mask_of([15, 9, 0, 0]).chunk(world_size())[rank()]  # the second half is only padding
    losses: dict[str, Callable[[Tensor], Tensor]] = {
        "choice": lambda x: choice_entropy(x, mask),
        "marginal": lambda x: marginal_entropy(x, 1, mask),
        "diversity": lambda x: code_diversity(x, 1, mask),
        "bonus": lambda x: EntropyBonus(0.3, 0.7, 1)(x, 0.8, mask),
        "kl": lambda x: KLToPrior(0.5)(x, mask),
        "nothing": lambda x: EntropyBonus(0.3, 0.7, 1)(x, mask=mask & False) + KLToPrior()(x, mask & False),
        "no code": lambda x: LookupFreeQuantizer(6)(x[:, :, 0], mask & False).loss,
    }
    for name, loss in losses.items():
        logits = torch.randn(*SHAPE, 2, 6, generator=seeded(7), requires_grad=True)
        value = loss(logits.chunk(world_size())[rank()])
        (gradient,) = torch.autograd.grad(value, logits)
        found[name] = value.detach(), gradient / world_size()
    return found


def embed_halves() -> Tensor:
    """The gradient of a table from both ranks' samples."""
    torch.manual_seed(0)
    table: nn.Module = RelaxedEmbedding(6, 3)
    if world_size() > 1:
        table = DistributedDataParallel(table)
    samples = torch.softmax(torch.randn(8, 6, generator=seeded(8)), -1).chunk(world_size())[rank()]
    table(samples).square().mean().backward()
    (parameter,) = table.parameters()
    return parameter.grad


def run() -> dict[str, Any]:
    lengths = RANK_LENGTHS[rank()]
    ways = {name: [train(name, way, lengths=lengths) for way in ("mask", "packed")] for name in ALL}
    return {"ways": ways, "losses": losses_of_halves(), "table": embed_halves()}


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return run_on_ranks(run)


@every
def test_ranks_with_different_numbers_of_real_vectors(ranks: list[dict[str, Any]], name: str) -> None:
    for result in ranks:
        assert_equal(*result["ways"][name])
    codes = [
        key for key in ranks[0]["ways"][name][0][-1] if key.startswith("state") and name.endswith(("ema", "cosine"))
    ]
    for key in codes:
        assert torch.equal(*(result["ways"][name][0][-1][key] for result in ranks)), key


@pytest.mark.parametrize("name", ["choice", "marginal", "diversity", "bonus", "kl", "nothing", "no code"])
def test_losses_are_means_over_the_real_positions_of_all_ranks(ranks: list[dict[str, Any]], name: str) -> None:
    value, gradient = losses_of_halves()[name]
    assert value == 0 or name not in ("nothing", "no code")
    for result in ranks:
        torch.testing.assert_close(result["losses"][name][0], value)
    torch.testing.assert_close(sum(result["losses"][name][1] for result in ranks), gradient)


def test_an_embedding_learns_from_the_samples_of_all_ranks(ranks: list[dict[str, Any]]) -> None:
    for result in ranks:
        torch.testing.assert_close(result["table"], embed_halves())
