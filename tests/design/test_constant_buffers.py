"""Modules that are built on the meta device and filled from a state dict compute the same numbers as the original."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.design import DesignProblem, Edit, GradientSearch
from discrete_lightning.design.alphabet import DNA, PROTEIN
from discrete_lightning.design.constraints import ConstraintSet, FixedPositions, MaxHomopolymer
from discrete_lightning.design.oracles import GB1, Ehrlich, Ensemble, MotifScan, TFBind8, WeightedSum
from discrete_lightning.design.search.sequence_logits import SequenceLogits

ALLOWED = torch.tensor([[True, False, True, True]]).expand(8, 4)


def x(letters: int, length: int) -> Tensor:
    tokens = torch.randint(letters, (5, length), generator=torch.Generator().manual_seed(0))
    return nn.functional.one_hot(tokens, letters).mT.float()


def problem() -> DesignProblem:
    return DesignProblem(TFBind8(), Edit("ACGTACGT", 0.1), constraints=[FixedPositions({0: "AC"})])


MAKERS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Tensor]]] = {
    "TFBind8": (TFBind8, lambda module: module(x(4, 8))),
    "GB1": (GB1, lambda module: module(x(len(PROTEIN), 4)).nan_to_num(9.0)),
    "MotifScan": (lambda: MotifScan("GATA2"), lambda module: module(x(4, 30))),
    "Ehrlich": (lambda: Ehrlich(8, 16, 2, 4, infeasible=-1.0), lambda module: module(x(8, 16))),
    "WeightedSum": (
        lambda: WeightedSum([TFBind8(), Ensemble([TFBind8(), MotifScan("TBP")])], [1.0, -2.0]),
        lambda module: module(x(4, 8)),
    ),
    "ConstraintSet": (
        lambda: ConstraintSet([FixedPositions({0: "AC"}), MaxHomopolymer(2)], 8, DNA),
        lambda module: module.allowed.float(),  # type: ignore[operator,union-attr]
    ),
    "SequenceLogits": (lambda: SequenceLogits(3, 8, 4, ALLOWED), lambda module: module().detach().exp()),
    "DesignProblem": (
        problem,
        lambda module: torch.cat(
            [
                module.template,  # type: ignore[list-item]
                module.feasible_example,  # type: ignore[list-item]
                module.initial_sequences[0],  # type: ignore[index,list-item]
                module.allowed.flatten(),  # type: ignore[operator,union-attr,list-item]
            ]
        ),
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_values_after_a_meta_device_init(name: str) -> None:
    make, values = MAKERS[name]
    torch.manual_seed(0)
    original = make()
    with torch.device("meta"):
        module = make()
    module.to_empty(device="cpu")
    module.load_state_dict(original.state_dict(), strict=True)
    assert torch.equal(values(module), values(original))
    moved = make().to("meta").to_empty(device="cpu")
    moved.load_state_dict(original.state_dict())
    assert torch.equal(values(moved), values(original))


def test_a_whole_search_after_a_meta_device_init() -> None:
    original = GradientSearch(chains=4, steps=3).begin(problem(), seed=0)
    with torch.device("meta"):
        search = GradientSearch(chains=4, steps=3).begin(problem(), seed=0)
    search.to_empty(device="cpu").load_state_dict(original.state_dict())
    original.run()
    search.run()
    assert search.designs(10) == original.designs(10)


def test_a_checkpoint_does_not_replace_what_the_arguments_say() -> None:
    """Another template and other constraints: those of the new problem stay."""
    new = DesignProblem(TFBind8(), Edit("AAAAAAAA", 0.1), constraints=[FixedPositions({2: "A"})])
    expected = {name: buffer.clone() for name, buffer in new.named_buffers()}
    new.load_state_dict(problem().state_dict())
    assert all(torch.equal(buffer, expected[name]) for name, buffer in new.named_buffers())


def test_constants_keep_their_dtype() -> None:
    module = nn.Sequential(MotifScan("JUN")).bfloat16()
    assert torch.equal(module[0].weight, MotifScan("JUN").weight)
