"""Blocks handed to threads: the same results as in one, and nothing that outlives or blocks a process."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import gapped_straight_through as gapped
from discrete_lightning.functional import gumbel_noise, gumbel_rao, gumbel_softmax, reinmax, softmax_draw
from discrete_lightning.functional._threads import in_threads
from tests.references.inputs import leaf, seeded

ROWS, K = 1500, 512  # three blocks


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(call: Callable[[Tensor, torch.Generator], Tensor], number: int) -> list[Tensor]:
    torch.set_num_threads(number)
    logits, generator = leaf(torch.randn(ROWS, K, generator=seeded(0))), seeded(1)
    result = call(logits, generator)
    if result.requires_grad:
        result.backward(torch.randn(ROWS, K, generator=seeded(2)))
    gradient = torch.zeros(()) if logits.grad is None else logits.grad
    return [result.detach(), gradient, torch.rand(3, generator=generator)]


CALLS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "soft": lambda x, g: gumbel_softmax(x, 0.7, generator=g),
    "hard": lambda x, g: gumbel_softmax(x, 0.7, hard=True, generator=g),
    "hard, no gradient": lambda x, g: gumbel_softmax(x.detach(), 0.7, hard=True, generator=g),
    "draw": lambda x, g: softmax_draw(x, 0.7, generator=g)[1],
    "gapped": lambda x, g: gapped(x, 0.7, generator=g),
    "ReinMax": lambda x, g: reinmax(x, generator=g),
    "Gumbel-Rao": lambda x, g: gumbel_rao(x, 0.7, samples=2, generator=g),
    "noise": lambda x, g: gumbel_noise(x.shape, generator=g),
}


@pytest.mark.parametrize("name", CALLS)
def test_results_do_not_depend_on_the_number_of_threads(name: str) -> None:
    """Nor does what the generator gives afterwards."""
    alone = run(CALLS[name], 1)
    for number in (2, 3, 2):
        for one, other in zip(alone, run(CALLS[name], number), strict=True):
            torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-7)
        assert torch.get_num_threads() == number


@pytest.mark.parametrize("number", [1, 3])
def test_draws_are_those_of_one_noise_tensor(number: int) -> None:
    torch.set_num_threads(number)
    logits = torch.randn(ROWS, K, generator=seeded(0))
    perturbed = logits + gumbel_noise(logits.shape, generator=seeded(1))
    hard = gumbel_softmax(logits, 0.7, hard=True, generator=seeded(1))
    assert torch.equal(hard.argmax(-1), perturbed.argmax(-1))
    assert torch.equal(hard.sum(-1), torch.ones(ROWS))
    torch.testing.assert_close(gumbel_softmax(logits, 0.7, generator=seeded(1)), torch.softmax(perturbed / 0.7, -1))


@pytest.mark.parametrize("name", ["soft", "hard", "ReinMax"])
def test_many_gradients_at_once(name: str) -> None:
    logits = leaf(torch.randn(ROWS, K, generator=seeded(0)))
    sample, g = CALLS[name](logits, seeded(1)), torch.randn(2, ROWS, K, generator=seeded(2))
    (together,) = torch.autograd.grad(sample, logits, g, is_grads_batched=True, retain_graph=True)
    for one, expected in zip(g, together, strict=True):
        found = torch.autograd.grad(sample, logits, one, retain_graph=True)[0]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_blocks_are_worked_on_at_once() -> None:
    torch.set_num_threads(3)
    begun: list[int] = []
    together = threading.Barrier(3, timeout=20)

    def work(block: int) -> None:
        begun.append(block)
        assert torch.get_num_threads() == 1
        assert not torch.is_grad_enabled()
        together.wait()  # all three are here at once

    in_threads(range(9), work)
    assert sorted(begun) == list(range(9))


def test_an_error_is_raised_when_all_have_stopped() -> None:
    torch.set_num_threads(2)
    done: list[int] = []

    def work(block: int) -> None:
        if block == 1:
            raise ValueError("block 1")
        done.append(block)

    for _ in range(2):
        with pytest.raises(ValueError, match="block 1"):
            in_threads(range(6), work)
    assert done.count(0) == 2


def test_in_inference_mode_and_from_several_threads() -> None:
    torch.set_num_threads(2)
    expected = run(CALLS["soft"], 2)[0]
    found: list[Tensor] = []

    def call() -> None:
        with torch.inference_mode():
            logits = torch.randn(ROWS, K, generator=seeded(0))
            found.append(gumbel_softmax(logits, 0.7, generator=seeded(1)).clone())

    callers = [threading.Thread(target=call) for _ in range(4)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(60)
    assert len(found) == 4
    for each in found:
        torch.testing.assert_close(each, expected, rtol=1e-6, atol=1e-7)


def test_ties_go_to_the_first() -> None:
    """Noise cannot be told apart beside a logit of 1e10."""
    sample = gumbel_softmax(torch.full((4, 3), 1e10), hard=True)
    assert torch.equal(sample, torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_and_the_end_of_python() -> None:
    """A child has no threads of its parent and makes its own; none keeps Python from ending."""
    code = """
import os, torch
from discrete_lightning.functional import gumbel_noise
torch.set_num_threads(2)
torch.manual_seed(0)
before = gumbel_noise((1500, 512))[-1].clone()
child = os.fork()
if child == 0:  # nothing large: torch's own threads do not survive a fork
    torch.manual_seed(0)
    os._exit(0 if torch.equal(gumbel_noise((1500, 512))[-1], before) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), gumbel_noise((1500, 512)).shape[0])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.split() == ["0", "1500"]
