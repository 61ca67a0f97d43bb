"""Sounds like speech, made by a source and a filter (Fant 1960): data that needs no download and has no licence.

    source: glottal pulses whose period glides and jitters, or noise
    filter: resonances at the formants of vowels, which glide

The formants are the means of Peterson and Barney (1952, https://doi.org/10.1121/1.1906875), table II, of men.
"""

from typing import Any

import numpy as np

# first, second and third formant of ten vowels, Hz
FORMANTS = np.array(
    [
        (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440),
        (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690),
    ],
    np.float64,
)  # fmt: skip
_BANDWIDTHS = np.array((60.0, 90.0, 150.0))
_FRAME, _HOP = 0.032, 0.008  # seconds


def voice(number: int, seed: int, rate: int) -> Any:
    """One recording of 0.8 to 1.6 seconds: vowels that glide into each other, and fricatives between some of them.

    Args:
        number: of the recording; each has its own pitch, size of the vocal tract and sounds.
        seed: of all recordings.
        rate: samples a second.

    Returns:
        float32 (N,) in [-1, 1].

    Example:
        >>> samples = voice(0, seed=0, rate=8000)
        >>> samples.shape[0] / 8000 > 0.8, float(abs(samples).max()) <= 1
        (True, True)
    """
    # RandomState's stream is frozen by numpy's promise
    draw = np.random.RandomState((seed * 1_000_003 + number) % 2**32)
    length = int(rate * draw.uniform(0.8, 1.6))
    time = np.arange(length) / rate
    sounds = draw.randint(3, 7)
    ends = np.linspace(0, time[-1], sounds + 1)
    middles = (ends[1:] + ends[:-1]) / 2
    tract = draw.uniform(0.9, 1.25)  # the shorter, the higher
    targets = FORMANTS[draw.randint(len(FORMANTS), size=sounds)] * tract
    noisy = (draw.uniform(size=sounds) < 0.25) & (np.arange(sounds) > 0)
    strength = draw.uniform(0.5, 1.0, sounds)

    pitch = draw.uniform(90, 220) * (1.1 - 0.2 * time / time[-1])
    pitch = pitch * (1 + 0.04 * np.sin(2 * np.pi * draw.uniform(2, 5) * time + draw.uniform(0, 6)))
    source = _pulses(pitch, rate, draw) + 0.003 * draw.standard_normal(length)
    noise = np.diff(draw.standard_normal(length + 1)) * 0.15
    fricative = np.interp(time, middles, noisy.astype(float)) ** 2
    source = source * (1 - fricative)

    frames = np.arange(0, length, int(_HOP * rate)) / rate
    formants = np.stack([np.interp(frames, middles, targets[:, k]) for k in range(3)], 1)
    voiced = _filtered(source, formants, rate)
    hiss = draw.uniform(2500, 3600) * min(1.0, rate / 8000)
    unvoiced = _filtered(noise * fricative, np.full((len(frames), 1), hiss), rate, np.array([800.0]))
    loud = np.interp(time, np.concatenate([[0], middles, [time[-1]]]), np.concatenate([[0], strength, [0]]))
    samples = (voiced / (np.abs(voiced).max() + 1e-9) + 0.5 * unvoiced / (np.abs(unvoiced).max() + 1e-9)) * loud
    return (0.7 * samples / (np.abs(samples).max() + 1e-9)).astype(np.float32)


def _pulses(pitch: Any, rate: int, draw: Any) -> Any:
    """Glottal flow's derivative: at the end of each period, of which 1 % is jitter, a pulse that falls by 12 dB an octave."""
    train, place = np.zeros(len(pitch)), 0.0
    while place < len(pitch) - 1:
        whole = int(place)
        train[whole] += 1 - (place - whole)  # between two samples
        train[whole + 1] += place - whole
        place += rate / pitch[whole] * (1 + 0.01 * draw.standard_normal())
    spectrum = np.fft.rfft(train)
    frequency = np.fft.rfftfreq(len(train), 1 / rate)
    return np.fft.irfft(spectrum * (frequency > 40) / (1 + 1j * frequency / 300), len(train))


def _filtered(source: Any, formants: Any, rate: int, bandwidths: Any = _BANDWIDTHS) -> Any:
    """`source` through resonances (frames, formants) in Hz, frame by frame, added up where frames overlap."""
    size, hop = int(_FRAME * rate), int(_HOP * rate)
    window = np.hanning(size + 1)[:size]
    padded = np.pad(source, (size // 2, 2 * size))
    cut = np.stack([padded[i * hop : i * hop + size] for i in range(len(formants))]) * window
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(2 * size, 1 / rate) / rate)
    response = np.ones((len(formants), len(z)), complex)
    for k in range(formants.shape[1]):
        radius = np.exp(-np.pi * bandwidths[k] / rate)
        cosine = np.cos(2 * np.pi * np.minimum(formants[:, k], 0.47 * rate) / rate)[:, None]
        response *= (1 - 2 * radius * cosine + radius**2) / (1 - 2 * radius * cosine * z + radius**2 * z**2)
    frames = np.fft.irfft(np.fft.rfft(cut, 2 * size) * response, 2 * size)
    result = np.zeros(len(padded) + 2 * size)
    for i, frame in enumerate(frames):
        result[i * hop : i * hop + 2 * size] += frame
    return result[size // 2 : size // 2 + len(source)]
