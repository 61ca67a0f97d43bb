"""Recordings: windows to train on, whole ones to evaluate; those that are made, and a folder of WAV files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from discrete_lightning.data import DataError, Speech
from discrete_lightning.data.speech import resampled
from discrete_lightning.data.voices import voice
from tests.storage.test_wav import wav


def folder(root: Path, count: int = 10) -> Path:
    (root / "in").mkdir(parents=True)
    for i in range(count):
        place = root / "in" if i % 2 else root
        wav(place / f"{i}.wav", [[100 * i + j % 50, 0] for j in range(300 + 10 * i)], 2)
    (root / "notes.txt").write_text("no sound")
    return root


def test_windows_to_train_on_and_whole_recordings_else(tmp_path: Path) -> None:
    data = Speech(str(folder(tmp_path)), window=200, batch_size=4, validation=0.2, test=0.2)
    windows = data.dataset("train")
    lengths = [len(each) for each in windows.recordings]
    assert len(lengths) == 6
    assert len(windows) == sum(-(-length // 200) for length in lengths) == 12
    for i, recording in enumerate(windows.recordings):
        assert torch.equal(windows[2 * i], recording[:200])
        assert torch.equal(windows[2 * i + 1], recording[-200:])  # the last one overlaps
    evaluated = [batch for loader in (data.val_dataloader(), data.test_dataloader()) for batch in loader]
    assert [batch.ndim for batch in evaluated] == [2] * 4
    everything = [*windows.recordings, *(batch[0] for batch in evaluated)]
    assert sorted(map(len, everything)) == [300 + 10 * i for i in range(10)]
    nine = next(each for each in everything if len(each) == 390)
    np.testing.assert_allclose(nine[:3].numpy() * 2**15, [450, 450.5, 451])  # the mean of both channels


def test_a_short_recording_is_filled_up(tmp_path: Path) -> None:
    data = Speech(str(folder(tmp_path)), window=500, batch_size=1)
    recording, window = data.dataset("train").recordings[0], data.dataset("train")[0]
    assert torch.equal(window[: len(recording)], recording)
    assert not window[len(recording) :].any()


def test_another_rate(tmp_path: Path) -> None:
    tone = [[round(20000 * np.sin(2 * np.pi * 500 * j / 16000))] for j in range(1600)]
    for i in range(3):
        wav(tmp_path / f"{i}.wav", tone, 2, 16000)
    found = Speech(str(tmp_path), window=100, batch_size=1).dataset("train").recordings[0]
    expected = 20000 / 2**15 * np.sin(2 * np.pi * 500 * np.arange(800) / 8000)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)
    high = np.sin(2 * np.pi * 6000 * np.arange(1600) / 16000)  # which 8,000 samples a second cannot hold
    assert np.abs(resampled(high, 16000, 8000)).max() < 1e-9


def test_sounds_that_are_made() -> None:
    first, second = Speech(count=12, window=512, batch_size=2), Speech(count=12, window=512, batch_size=2)
    for split in ("train", "validation"):
        assert torch.equal(first.dataset(split)[0], second.dataset(split)[0])
    sounds = [voice(i, 0, 8000) for i in range(3)]
    for sound in sounds:
        assert 6400 <= len(sound) <= 12800
        assert 0.5 < np.abs(sound).max() <= 1
    spectrum = np.abs(np.fft.rfft(sounds[0])) ** 2
    frequency = np.fft.rfftfreq(len(sounds[0]), 1 / 8000)
    assert spectrum[(frequency > 80) & (frequency < 3500)].sum() > 0.9 * spectrum.sum()


def test_faults_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder of WAV files"):
        Speech(str(tmp_path / "none")).setup()
    with pytest.raises(DataError, match=r"expected WAV files \(.wav\), found none"):
        Speech(str(tmp_path)).setup()
    root = folder(tmp_path / "sounds")
    (root / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"broken\.wav: expected a WAV file of PCM samples: "):
        Speech(str(root)).setup()
    wav(root / "broken.wav", [[0]] * 50, 2)
    raw = bytearray((root / "broken.wav").read_bytes())
    raw[24:28] = bytes(4)
    (root / "broken.wav").write_bytes(raw)
    with pytest.raises(DataError, match=r"broken\.wav: .* its header states 0 samples a second: expected 1,000"):
        Speech(str(root)).setup()
    wav(root / "broken.wav", [[0]] * 50, 2)
    with pytest.raises(DataError, match=r"broken\.wav: is silent throughout: leave it out"):
        Speech(str(root)).setup()
    for arguments in ({"window": 0}, {"count": 0}, {"sample_rate": 1}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            Speech(**arguments)  # type: ignore[arg-type]
