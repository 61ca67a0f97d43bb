import pytest

from discrete_lightning.control.vector.base import EnvironmentFault
from discrete_lightning.control.vector.failing_together import failing_together
from discrete_lightning.distributed import rank
from tests.ranks import run_on_ranks


def messages(failing: list[int]) -> list[str]:
    """What this rank hears of: a block without a fault, and one in which some ranks fail."""
    heard = []
    for ranks in ([], failing):
        try:
            with failing_together():
                if rank() in ranks:
                    raise EnvironmentFault(f"environment {rank()} fell over: é")
        except EnvironmentFault as fault:
            heard.append(str(fault))
        else:
            heard.append("")
    return heard


@pytest.mark.parametrize("failing", [[], [0], [1], [0, 1]])
def test_all_ranks_raise_what_any_of_them_did(failing: list[int]) -> None:
    expected = "; ".join(f"environment {each} fell over: é" for each in failing)
    assert run_on_ranks(messages, failing) == [["", expected]] * 2


def test_other_errors_are_raised_as_they_are() -> None:
    with pytest.raises(KeyError), failing_together():
        raise KeyError("x")
