"""Words and bytes: every text and every sequence of bytes comes back, and every character is counted once."""

import random

import pytest

from discrete_lightning.data.tokenizers import ASCIITokenizer, Tokenizer, WordTokenizer, tokenizer_by_name, tokenizer_of
from discrete_lightning.data.tokenizers.ascii import CHARACTERS
from discrete_lightning.data.tokenizers.tokenizer import to_bytes, to_text

ENGLISH = "The cat and the dog, and the cow's calf; don't! Café naïve — “the end”.\n\nAnd the cat\r\nand the dog.\n"
WORDS = WordTokenizer.learn(ENGLISH * 3, 300)
TOKENIZERS = [WORDS, WordTokenizer()]

TEXTS = [
    "",
    "\n",
    "\r\n\r\r\n\n\n",
    ENGLISH,
    "e\u0301 a\u0308\u0323 \u200d\U0001f468\u200d\U0001f469",  # combining characters, joined emoji
    "漢字\u3000かな עברית العربية \U0001d11e",
    "\x00\x01\x7f\x85\u2028\u2029\ufeff\xa0",  # controls, line ends of Unicode, a byte order mark
    "  two  blanks\t\ttabs \n x",
    "snake_case x_1 3.14 1,000 ’tis 'tis rock'n'roll",
    "".join(map(chr, range(0x250))),
]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("text", TEXTS)
def test_texts_come_back_and_characters_add_up(tokenizer: WordTokenizer, text: str) -> None:
    tokens = tokenizer.encode(text)
    assert all(0 <= token < tokenizer.size for token in tokens)
    assert tokenizer.decode(tokens) == text
    counts = tokenizer.characters()
    assert len(counts) == tokenizer.size
    assert sum(counts[token] for token in tokens) == len(text)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_any_bytes_come_back(tokenizer: WordTokenizer) -> None:
    draws = random.Random(0)
    cases = [bytes(range(256)), *(bytes([i]) for i in range(256)), b"\xff\xfe\xed\xa0\x80\xc0\xaf\xf4\x90\x80\x80"]
    cases += [draws.randbytes(draws.randrange(40)) for _ in range(300)]
    cases += [bytes(draws.choices(b"\xe2\x80\x94 \xc3\xa9the\n\r'", k=20)) for _ in range(300)]  # broken characters
    for data in cases:
        text = to_text(data)
        assert to_bytes(text) == data
        tokens = tokenizer.encode(text)
        assert to_bytes(tokenizer.decode(tokens)) == data
        counts = tokenizer.characters()
        valid = text.isprintable() and not any("\udc80" <= each <= "\udcff" for each in text)
        if valid:
            assert sum(counts[token] for token in tokens) == len(text)


def test_any_tokens_decode_to_a_text_of_these_bytes() -> None:
    draws = random.Random(1)
    for _ in range(200):
        tokens = draws.choices(range(WORDS.size), k=draws.randrange(12))
        assert to_bytes(WORDS.decode(tokens)) == b"".join(to_bytes(WORDS.decode([token])) for token in tokens)


def test_line_ends_are_tokens_of_their_own() -> None:
    for text in ("a\nb", "\n", "the\nthe", ",\n", " \n"):
        assert WORDS.encode(text).count(10) == 1


def test_learning_is_the_same_whatever_the_order_of_equals() -> None:
    words = ["alpha", "beta", "gamma", "delta"] * 5 + ["omega"] * 9
    shuffled = random.Random(2).sample(words, len(words))
    a, b = (WordTokenizer.learn("".join(f"{each}\t" for each in order), 259) for order in (words, shuffled))
    assert a == b
    assert a.pieces == ("omega", "alpha", "beta")
    assert hash(a) == hash(b)
    assert a != WordTokenizer.learn("alpha", 259)


def test_learning_from_little_gives_a_smaller_vocabulary() -> None:
    assert WordTokenizer.learn("", 5000).size == 256
    assert WordTokenizer.learn("the the", 5000).size == 258


def test_frequent_words_are_one_token_and_the_rest_is_spelt() -> None:
    tokenizer = WordTokenizer.learn("so the cat, so the dog, so the cow", 258)
    assert set(tokenizer.pieces) == {" the", " so"}
    assert len(tokenizer.encode(" the")) == 1
    assert tokenizer.encode(" then") == list(b" then")


def test_unknown_characters_are_named_once_sorted() -> None:
    assert WordTokenizer.learn("abc", 256).unknown("cabzyé漢z") == ["y", "z", "é", "漢"]
    assert WordTokenizer().unknown("anything é") == []
    assert ASCIITokenizer().unknown("tab\té é") == ["\t", "é"]


@pytest.mark.parametrize("tokenizer", [*TOKENIZERS, ASCIITokenizer()])
def test_state_makes_an_equal_tokenizer(tokenizer: Tokenizer) -> None:
    again = tokenizer_of(tokenizer.state())
    assert again == tokenizer
    assert again.encode(ENGLISH) == tokenizer.encode(ENGLISH)
    assert again.unknown("Ω") == tokenizer.unknown("Ω")


def test_ascii_is_one_token_a_character() -> None:
    tokenizer = ASCIITokenizer()
    assert tokenizer.encode(CHARACTERS) == list(range(96))
    assert tokenizer.decode(tokenizer.encode(CHARACTERS)) == CHARACTERS
    assert tokenizer.decode(tokenizer.encode("é\t\udcff漢")) == "????"
    assert sum(tokenizer.characters()[token] for token in tokenizer.encode(ENGLISH)) == len(ENGLISH)


def test_tokenizers_by_name() -> None:
    assert tokenizer_by_name("words", ENGLISH, 280) == WordTokenizer.learn(ENGLISH, 280)
    assert tokenizer_by_name("bytes", ENGLISH, 280).size == 256
    assert tokenizer_by_name("ascii", "", 0) == ASCIITokenizer()


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="each piece once: \\['the'\\]"):
        WordTokenizer(["the", "the"])
    with pytest.raises(ValueError, match="two or more bytes"):
        WordTokenizer(["a"])
    with pytest.raises(ValueError, match="256 or more, got 255"):
        WordTokenizer.learn("a", 255)
    with pytest.raises(ValueError, match="got 'morse'"):
        tokenizer_of({"kind": "morse"})
