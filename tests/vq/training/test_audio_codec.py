"""The codec of sounds: shapes, what it measures, the sounds that it writes."""

import wave
from pathlib import Path

import pytest
import torch
from torchmetrics.functional.audio import scale_invariant_signal_noise_ratio

from discrete_lightning.callbacks import Reconstructions, Sounds
from discrete_lightning.data import Speech
from discrete_lightning.models import AudioCodec, VQAutoencoder
from discrete_lightning.nn import ResidualQuantizer, VectorQuantizer
from discrete_lightning.vq.training.waveform import WaveformDecoder, WaveformEncoder
from tests.tiny_images import quiet_trainer


def codec(**arguments: object) -> AudioCodec:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(VectorQuantizer(8, 4), 3, dropout=0.5)
    return AudioCodec(quantizer, **({"hidden": 2, "strides": [4, 8]} | arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize("strides", [[2], [3, 5], [2, 4, 8], [7]])
def test_strides(strides: list[int]) -> None:
    hop = torch.tensor(strides).prod().item()
    vectors = WaveformEncoder(2, 3, strides)(torch.zeros(2, 6 * int(hop)))
    assert vectors.shape == (2, 6, 3)
    assert WaveformDecoder(2, 3, strides)(vectors).shape == (2, 6 * hop)


def test_sounds_of_any_length() -> None:
    model = codec().eval()
    for length in (1, 31, 32, 100):
        samples = torch.randn(2, length)
        output, quantized = model(samples)
        assert output.shape == samples.shape
        frames = -(-length // 32)
        assert quantized.indices.shape == (2, frames, 3)
        for depth in (1, 2, 3):
            decoded = model.decode(quantized.indices[..., :depth])
            torch.testing.assert_close(decoded[:, :length], model(samples, depth)[0])


def test_what_is_measured() -> None:
    """Each recording counts once, at each number of stages."""
    model, data = codec(), Speech(count=12, window=512, batch_size=4, validation=0.25)
    trainer = quiet_trainer()
    trainer.validate(model, data, verbose=False)
    model.eval()
    recordings = list(data.val_dataloader())
    assert len(recordings) == 3
    for depth, suffix in ((1, "_1"), (2, "_2"), (3, "")):
        with torch.no_grad():
            ratios = [scale_invariant_signal_noise_ratio(model(each, depth)[0], each).mean() for each in recordings]
        found = trainer.callback_metrics[f"val/si_snr{suffix}"]
        torch.testing.assert_close(found, torch.stack(ratios).mean(), rtol=1e-4, atol=1e-4)
        assert f"val/mel{suffix}" in trainer.callback_metrics
    assert trainer.callback_metrics["val/live_codes_3"] >= 1


def test_sounds_are_written(tmp_path: Path) -> None:
    model, data = codec(), Speech(count=20, window=512, batch_size=4)
    for _ in range(2):  # nothing is overwritten
        trainer = quiet_trainer(
            default_root_dir=tmp_path, max_epochs=1, limit_train_batches=2, callbacks=[Sounds(2, [1, 3, 9])]
        )
        trainer.fit(model, data)
    names = {path.name for path in (tmp_path / "sounds").iterdir()}
    once = {f"{number}-{kind}" for number in (1, 2) for kind in ("original", "stages-1", "stages-3")}
    assert names == {f"{each}.wav" for each in once} | {f"{each}-2.wav" for each in once}
    lengths = []
    for name in ("1-original.wav", "1-stages-1.wav", "1-stages-3.wav"):
        with wave.open(str(tmp_path / "sounds" / name)) as file:
            assert file.getframerate() == 8000
            lengths.append(file.getnframes())
    assert lengths == [len(data.dataset("validation")[0])] * 3


def test_data_of_another_rate_are_refused() -> None:
    model, data = codec(sample_rate=8000), Speech(count=12, sample_rate=16000, window=512, batch_size=4)
    trainer = quiet_trainer(max_epochs=1)
    words = "takes 8,000 samples a second, and Speech serves 16,000: give both one sample_rate"
    for verb in (trainer.fit, trainer.validate, trainer.predict):
        with pytest.raises(ValueError, match=words):
            verb(model, datamodule=data)


def test_what_is_no_sound_or_no_code() -> None:
    model = codec().eval()
    with pytest.raises(ValueError, match=r"got torch.float32 \(100,\): add a dimension of one sound"):
        model.encode(torch.zeros(100))
    for samples in (torch.zeros(2, 0), torch.zeros(2, 100, dtype=torch.int16), torch.zeros(0)):
        with pytest.raises(ValueError, match=r"sounds are floating-point samples \(batch, samples\)"):
            model.encode(samples)
    for shape in ((2, 0, 3), (2, 5, 4), (5, 3), (2, 5, 3, 1)):
        with pytest.raises(ValueError, match=r"codes are integers of shape \(N, T, 1 to 3 stages\), got"):
            model.decode(torch.zeros(shape, dtype=torch.int64))


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="got VectorQuantizer: put it in one"):
        AudioCodec(VectorQuantizer(8, 4))  # type: ignore[arg-type]
    for arguments, words in (
        ({"strides": [1]}, "strides are of 2 or more"),
        ({"waveform": 0.0, "mel": 0.0}, "not both 0"),
        ({"hidden": 0}, "hidden"),
    ):
        with pytest.raises(ValueError, match=words):
            codec(**arguments)
    with pytest.raises(ValueError, match=r"the data serves torch.float32 \(2, 1, 50\)"):
        codec().check_batch(torch.zeros(2, 1, 50))
    trainer = quiet_trainer(max_epochs=1)
    with pytest.raises(TypeError, match="VQAutoencoder does not have"):
        Sounds().setup(trainer, VQAutoencoder(VectorQuantizer(8, 4), hidden=4), "fit")
    with pytest.raises(TypeError, match="AudioCodec does not have"):
        Reconstructions().setup(trainer, codec(), "fit")
    with pytest.raises(ValueError, match="count and depths of 1 or more"):
        Sounds(depths=[0])
