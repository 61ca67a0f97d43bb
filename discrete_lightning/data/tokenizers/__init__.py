"""Texts to tokens and back."""

from collections.abc import Mapping
from typing import Any

from discrete_lightning.data.tokenizers.ascii import ASCIITokenizer
from discrete_lightning.data.tokenizers.hugging_face import HuggingFaceTokenizer
from discrete_lightning.data.tokenizers.tokenizer import Tokenizer
from discrete_lightning.data.tokenizers.words import BYTES, WordTokenizer

__all__ = ["ASCIITokenizer", "HuggingFaceTokenizer", "Tokenizer", "WordTokenizer", "tokenizer_by_name", "tokenizer_of"]


def tokenizer_by_name(name: str, text: str, size: int) -> Tokenizer:
    """The tokenizer that a config names.

    Args:
        name: "words" (learnt from the text), "bytes", "ascii", or a tokenizer of the package tokenizers.
        text: that a tokenizer learns from.
        size: of the vocabulary, where it is learnt.

    Example:
        >>> tokenizer_by_name("bytes", "", 0).size
        256
    """
    if name == "words":
        return WordTokenizer.learn(text, size)
    if name == "bytes":
        return WordTokenizer.learn(text, BYTES)
    if name == "ascii":
        return ASCIITokenizer()
    return HuggingFaceTokenizer(name)


def tokenizer_of(state: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer whose `state()` this is.

    Raises:
        ValueError: if it is of no kind known here.

    Example:
        >>> tokenizer_of(WordTokenizer([" the"]).state()) == WordTokenizer([" the"])
        True
    """
    kind = state.get("kind")
    if kind == "words":
        return WordTokenizer(state["pieces"], state["seen"])
    if kind == "ascii":
        return ASCIITokenizer()
    if kind == "hugging_face":
        return HuggingFaceTokenizer(state["name"], state["content"])
    raise ValueError(f"a tokenizer is of kind words, ascii or hugging_face, got {kind!r}: another version wrote it")
