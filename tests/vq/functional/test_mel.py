"""Mel spectrograms and their distance, against formulas in float64."""

import math

import numpy as np
import pytest
import torch

from discrete_lightning.metrics import MelDistance
from discrete_lightning.vq.functional.mel import log_mel, mel_distance


def test_against_numpy() -> None:
    rate, size, bands, hop = 8000, 128, 10, 32
    samples = np.random.RandomState(0).standard_normal(1000)
    padded = np.pad(samples, size // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frames = np.stack([padded[i : i + size] for i in range(0, 1001, hop)]) * window
    amplitude = np.abs(np.fft.rfft(frames)) * 2 / window.sum()
    frequency = np.fft.rfftfreq(size, 1 / rate)
    mel = np.linspace(0, 2595 * math.log10(1 + 4000 / 700), bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    weights = np.stack([np.interp(frequency, edges[i : i + 3], [0, 1, 0], left=0, right=0) for i in range(bands)])
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-9)
    expected = np.log10(np.maximum(weights @ amplitude.T, 1e-4))
    found = log_mel(torch.from_numpy(samples).unsqueeze(0), rate, size, bands)[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_tenth_of_the_amplitude_is_one() -> None:
    sound = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    distance = mel_distance(sound / 10, sound, 8000, (256,), 10)
    torch.testing.assert_close(distance, torch.ones(2), rtol=1e-3, atol=1e-3)


def test_gradients_are_finite_in_silence() -> None:
    silent = torch.zeros(1, 1000, requires_grad=True)
    mel_distance(silent, torch.randn(1, 1000), 8000, (64, 128), 20).sum().backward()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()
    with pytest.raises(ValueError, match="one shape"):
        mel_distance(silent, torch.zeros(1, 999), 8000, (64,), 20)


def test_each_sound_counts_once() -> None:
    generator = torch.Generator().manual_seed(0)
    sounds = [torch.randn(count, 500 * count, generator=generator) for count in (1, 3)]
    metric = MelDistance()
    each = []
    for sound in sounds:
        metric.update(sound * 0.5, sound)
        each.append(mel_distance(sound * 0.5, sound, 8000, (64, 128, 256, 512), 40))
    torch.testing.assert_close(metric.compute(), torch.cat(each).mean())


def test_a_pass_of_validation_first() -> None:
    """What it kept serves training, too."""
    samples = torch.randn(1, 300, requires_grad=True)
    with torch.inference_mode():
        log_mel(samples, 7919, 64, 5)  # a rate that no other test has
    log_mel(samples, 7919, 64, 5).sum().backward()
    assert samples.grad is not None
