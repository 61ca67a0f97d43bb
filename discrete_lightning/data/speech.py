"""Recordings of speech: a folder of WAV files, or sounds that are made."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.splits import DrawnSplits, Split
from discrete_lightning.data.voices import voice
from discrete_lightning.storage.gunzip import PackedError
from discrete_lightning.storage.wav import read_wav


class Speech(DrawnSplits):
    """Recordings of any lengths: windows of one length to train on, whole recordings to validate and test.

    Without a folder the recordings are made: voiced sounds and fricatives of a source-filter model (`data.voices`), the same
    for each `sample_rate`. All WAV files in a folder are read into memory: PCM of 8, 16, 24 or 32 bits,
    of which channels are averaged and another rate is changed to `sample_rate` (by Fourier transform). Recordings are split by
    their names alone. Batches are samples, float32 (B, window) in training and (1, N) else, in [-1, 1].

    Args:
        folder: of WAV files; None for sounds that are made.
        sample_rate: samples a second.
        window: samples of a training example; a recording's last window overlaps the one before it, and a shorter recording
            is filled up with zeros.
        count: how many recordings are made; left alone with a folder.
        validation: share of the recordings, in [0, 1).
        test: likewise.
        batch_size: windows a training batch and device; in evaluation a batch is one recording.
        num_workers: processes that prepare batches.
        seed: of the split.

    Raises:
        ValueError: an argument is out of its range.
        DataError: there is no such folder, or it has no WAV files; or one cannot be read, or is silent throughout: the message
            names it.

    Example:
        >>> data = Speech(count=20, window=4000, batch_size=4)
        >>> next(iter(data.train_dataloader())).shape, next(iter(data.val_dataloader())).shape[0]
        (torch.Size([4, 4000]), 1)
    """

    def __init__(
        self,
        folder: str | None = None,
        sample_rate: int = 8000,
        window: int = 2048,
        count: int = 300,
        validation: float = 0.1,
        test: float = 0.1,
        batch_size: int = 16,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(validation, test, batch_size, num_workers, seed)
        if not 4000 <= sample_rate <= 192_000:
            raise ValueError(f"sample_rate={sample_rate}: expected 4,000 to 192,000 samples a second.")
        for name, value in (("window", window), ("count", count)):
            if value < 1:
                raise ValueError(f"{name}={value}: expected 1 or more.")
        self.folder, self.sample_rate, self.window, self.count = folder, sample_rate, window, count

    def build(self) -> dict[Split, Dataset[Any]]:
        if self.folder is None:
            recordings = [torch.from_numpy(voice(i, 0, self.sample_rate)) for i in range(self.count)]
            found = self.with_drawn({"train": Recordings(recordings)}, "the sounds that are made")
        else:
            root = Path(self.folder).expanduser()
            if not root.is_dir():
                raise DataError(
                    f"{root}: there is no such folder of WAV files (the working directory is {Path.cwd()})."
                )
            names = wav_files(root)
            if not names:
                raise DataError(f"{root}: expected WAV files (.wav), found none.")
            recordings = [recording(root / name, self.sample_rate) for name in names]
            found = self.with_drawn({"train": Recordings(recordings)}, str(root))
        train: Any = found["train"]
        found["train"] = Windows([train[i] for i in range(len(train))], self.window)
        return found

    def _loader(self, split: Split, shuffle: bool = False) -> DataLoader[Any]:
        if split == "train" and shuffle:
            return super()._loader(split, shuffle)
        return DataLoader(  # recordings have different lengths
            self.dataset(split), batch_size=1, num_workers=self.num_workers, persistent_workers=self.num_workers > 0
        )


class Recordings(Dataset[Tensor]):
    """Recordings in memory, each (N,)."""

    def __init__(self, recordings: Sequence[Tensor]) -> None:
        self.recordings = list(recordings)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> Tensor:
        return self.recordings[index]


class Windows(Recordings):
    """All windows of recordings, each (window,)."""

    def __init__(self, recordings: Sequence[Tensor], window: int) -> None:
        super().__init__(recordings)
        self.window = window
        self.places = [
            (number, min(start, max(0, len(each) - window)))
            for number, each in enumerate(self.recordings)
            for start in range(0, len(each), window)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Tensor:
        number, start = self.places[index]
        cut = self.recordings[number][start : start + self.window]
        return torch.nn.functional.pad(cut, (0, self.window - len(cut)))


def wav_files(root: Path) -> list[str]:
    """The WAV files of a folder and of those in it, relative to it, sorted."""
    names = []
    for place, folders, files in os.walk(root, followlinks=True):
        folders[:] = [each for each in folders if not each.startswith(".")]
        names += [
            os.path.relpath(os.path.join(place, each), root)
            for each in files
            if each.lower().endswith(".wav") and not each.startswith(".")
        ]
    return sorted(names)


def recording(path: Path, sample_rate: int) -> Tensor:
    """A file's samples (N,) at this rate; raises DataError."""
    try:
        samples, rate = read_wav(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except PackedError as error:
        raise DataError(f"{path}: expected a WAV file of PCM samples: {error}.") from None
    mono = samples.mean(1)
    if not mono.any():
        raise DataError(f"{path}: {'holds no samples' if not len(mono) else 'is silent throughout'}: leave it out.")
    return torch.from_numpy(resampled(mono, rate, sample_rate).astype(np.float32))


def resampled(samples: Any, rate: int, wanted: int) -> Any:
    """Samples (N,) at another rate: the same Fourier series, without what the lower of the two rates cannot hold.

    Example:
        >>> slow = np.sin(2 * np.pi * 5 * np.arange(100) / 100)
        >>> np.allclose(resampled(slow, 100, 200)[::2], slow)
        True
    """
    if rate == wanted:
        return samples
    count = max(1, round(len(samples) * wanted / rate))
    spectrum = np.fft.rfft(np.asarray(samples, np.float64))
    kept = min(len(spectrum), count // 2 + 1)
    whole = np.zeros(count // 2 + 1, complex)
    whole[:kept] = spectrum[:kept]
    return np.fft.irfft(whole, count) * (count / len(samples))
