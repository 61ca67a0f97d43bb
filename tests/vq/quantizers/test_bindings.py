"""Codebooks that a binding updates, and what a codebook says that nothing updates."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

from discrete_lightning.layers import updated_layer
from discrete_lightning.nn import LearnedVectorQuantizer, VectorQuantizer, update_codebooks_after_step
from tests.vq.quantizers.makers import some_vectors
from tests.vq.quantizers.updated_model import STEPS, Model

# A codebook that nothing updates says so


def assert_silent(act: Callable[[], None], times: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(times):
            act()


@pytest.mark.parametrize("grad", [False, True])
def test_vectors_of_a_frozen_network(grad: bool) -> None:
    """The optimiser trains what comes after the codebook, which it cannot see: the second pass says what to call."""
    layer, decoder = VectorQuantizer(8, 3), nn.Linear(3, 3)
    optimizer = torch.optim.SGD(decoder.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        decoder(layer(some_vectors(40, 3).requires_grad_(grad)).quantized).square().sum().backward()
        optimizer.step()

    assert_silent(step, 1)
    told = r"VectorQuantizer: no optimiser trains .*quantizer\.update\(\) after each step, or update_codebooks"
    with pytest.warns(UserWarning, match=told):
        step()
    assert_silent(step, 20)
    assert layer.updates == 0
    update_codebooks_after_step(layer, optimizer)
    for _ in range(STEPS):
        step()
    assert layer.updates == STEPS


def test_update_by_hand_is_silent() -> None:
    layer = VectorQuantizer(8, 3)

    def step() -> None:
        layer(some_vectors(40, 3))
        layer.update()

    assert_silent(step, 200)
    assert layer.updates == 200
    layer.update()  # with nothing collected
    assert layer.updates == 200


def test_a_run_without_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updated_layer, "_FORGOTTEN", 4)
    model = Model(lambda: VectorQuantizer(8, 4))
    optimizer = torch.optim.SGD(model.parameters())
    assert_silent(lambda: model(some_vectors(5, 3)).backward(), 3)
    with pytest.warns(UserWarning, match="4 passes without an update"):
        model(some_vectors(5, 3)).backward()
    assert_silent(lambda: model(some_vectors(5, 3)).backward(), 5)
    optimizer.step()
    assert model.updates() == {1}


def test_outputs_that_no_loss_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updated_layer, "_FORGOTTEN", 10)
    model = Model(lambda: VectorQuantizer(8, 4))
    assert_silent(lambda: model(some_vectors(5, 3)), 9)
    with pytest.warns(UserWarning, match="in 10 training passes no gradient has reached its output"):
        model(some_vectors(5, 3))
    assert_silent(lambda: model(some_vectors(5, 3)), 20)


# Bindings


def test_a_binding_ends() -> None:
    layer, x = VectorQuantizer(8, 3), nn.Parameter(some_vectors(40, 3))
    optimizer = torch.optim.SGD([x], lr=0.1)
    binding = update_codebooks_after_step(layer, optimizer)
    for ended in (False, True):
        if ended:
            binding.remove()
            binding.remove()
            assert len(optimizer._optimizer_step_post_hooks) == 1  # its own
        layer(x).quantized.sum().backward()
        optimizer.step()
    assert layer.updates == 2  # afterwards it sees the steps by itself again
    assert not layer.bindings


def test_two_bindings_count_once() -> None:
    model = Model(lambda: VectorQuantizer(8, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        update_codebooks_after_step(model, optimizer)
    model(some_vectors(40, 3)).backward()
    optimizer.step()
    assert model.updates() == {1}


def test_a_binding_needs_an_optimiser() -> None:
    with pytest.raises(ValueError, match="needs an optimiser"):
        update_codebooks_after_step(nn.Linear(1, 1))


def test_each_codebook_of_its_own_optimiser() -> None:
    first, second = Model(lambda: VectorQuantizer(8, 4)), Model(lambda: LearnedVectorQuantizer(8, 4))
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.05) for each in (first, second)]
    update_codebooks_after_step(nn.ModuleList([first, second]), *optimizers)
    for step in range(4):
        (first(some_vectors(40, 3)) + second(some_vectors(40, 3))).backward()
        optimizers[0].step()
        optimizers[0].zero_grad()
        if step % 2:
            optimizers[1].step()
            optimizers[1].zero_grad()
    assert (first.updates(), second.updates()) == ({4}, {2})
