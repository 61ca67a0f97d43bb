"""A tokenizer of the package tokenizers, trained here."""

import sys
from pathlib import Path

import pytest

from discrete_lightning.data import DataError, TextFiles
from discrete_lightning.data.tokenizers import HuggingFaceTokenizer, tokenizer_of

TEXT = "the cat and the dog, and the cow. Café!\nthe cat and the hat\n" * 30


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The file of a byte-level vocabulary of 300 pairs."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator([TEXT], trainer)
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_texts_come_back_and_characters_add_up(trained: Path) -> None:
    tokenizer = HuggingFaceTokenizer(str(trained))
    counts = tokenizer.characters()
    for text in (TEXT, "", "unseen wörds 漢字 \U0001d11e\n"):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens) == text
        assert sum(counts[token] for token in tokens) == len(text)
    assert len(tokenizer.encode(TEXT)) < len(TEXT) / 2


def test_blanks_that_a_decoder_takes_off_and_single_bytes_are_counted() -> None:
    """As in vocabularies of SentencePiece."""
    tokenizers = pytest.importorskip("tokenizers")
    spelt = [f"<0x{i:02X}>" for i in range(256)]
    pieces = {piece: i for i, piece in enumerate([*spelt, "▁", "t", "h", "e", "▁t", "he", "▁the", "a", "▁a", "<unk>"])}
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("▁", "a")]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(pieces, merges, byte_fallback=True, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="never")
    made.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("▁", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
            tokenizers.decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer = HuggingFaceTokenizer("made", made.to_str())
    counts = tokenizer.characters()
    for text in ("a the the", "the aé 漢the", "a a"):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens) == text
        assert sum(counts[token] for token in tokens) == len(text)


def test_state_needs_no_file(trained: Path) -> None:
    tokenizer = HuggingFaceTokenizer(str(trained))
    trained.unlink()
    again = tokenizer_of(tokenizer.state())
    assert again == tokenizer
    assert again.encode(TEXT) == tokenizer.encode(TEXT)


def test_data_takes_it_by_its_file(trained: Path) -> None:
    (trained.parent / "a.txt").write_text(TEXT, encoding="utf-8")
    data = TextFiles(str(trained.parent / "*.txt"), tokenizer=str(trained), context=4, batch_size=2)
    inputs, targets = next(iter(data.train_dataloader()))
    assert data.decode_tokens(inputs[0]) == TEXT[: len(data.decode_tokens(inputs[0]))]
    assert inputs[0, 1:].tolist() == targets[0, :-1].tolist()


def test_data_say_so_where_the_text_does_not_come_back(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tokenizers

    lower = tokenizers.Tokenizer.from_file(str(trained))
    lower.normalizer = tokenizers.normalizers.Lowercase()
    lower.save(str(trained))
    (trained.parent / "a.txt").write_text(TEXT, encoding="utf-8")
    TextFiles(str(trained.parent / "a.txt"), tokenizer=str(trained)).tokenizer  # noqa: B018
    assert "changes the text" in capsys.readouterr().out


def test_a_file_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError, match=r"bad\.json.*tokenizer.json"):
        HuggingFaceTokenizer(str(tmp_path / "bad.json"))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError, match=r"not installed.*discrete_lightning\[tokenizers\]"):
        HuggingFaceTokenizer("gpt2")
