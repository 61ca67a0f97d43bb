"""The page of poems: what goes in comes out, escaped, and each mark stands over its syllable's word."""

import html
import re
from html.parser import HTMLParser

import pytest

from discrete_lightning.text.verse_page import scanned, verse_page, verse_text

POEM = ["The curfew tolls the knell of parting day,", "A line -- that is in no metre", "and one more day"]
SCAN = {POEM[0]: "x/x/x/x/x/", POEM[2]: "x/x/"}.get
COUNTS = {"curfew": 2, "parting": 2, "metre": 2}


def count(word: str) -> int:
    return COUNTS.get(word, 1)


def rhymes(a: str, b: str) -> bool:
    return re.sub(r"\W+$", "", a).split()[-1] == re.sub(r"\W+$", "", b).split()[-1]


def visible(page: str) -> list[str]:
    """The text of each line of a page, without marks and letters of rhymes."""
    found = re.findall(r'<div class="line[^>]*><span>(.*?)</span>', page)
    return [html.unescape(re.sub(r"<rt>.*?</rt>|</?ruby>", "", line)) for line in found]


class Balanced(HTMLParser):
    """Fails on a tag that closes none, or is left open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("syllables", [None, count])
def test_all_lines_are_there_in_order(syllables: object) -> None:
    page = verse_page([POEM, POEM[:1]], SCAN, rhymes, "Verses", syllables=syllables)  # type: ignore[arg-type]
    Balanced(page)
    assert visible(page) == [*POEM, POEM[0]]
    text = verse_text([POEM, POEM[:1]], SCAN, rhymes, "Verses", syllables=syllables)  # type: ignore[arg-type]
    squeezed = [" ".join(line.split()) for line in text.splitlines()]
    assert [any(line in each for each in squeezed) for line in POEM] == [True] * 3


def test_html_is_escaped_everywhere() -> None:
    evil = "<script>alert('x')</script> & \"q\""
    page = verse_page([[evil]], lambda line: "<i>", lambda a, b: True, evil, evil)
    Balanced(page)
    assert "<script" not in page
    assert "<i>" not in page
    assert page.count(html.escape(evil)) == 4  # title, heading, caption, line
    assert visible(page) == [evil]
    over = verse_page([["a<b c&d"]], lambda line: "<&", lambda a, b: True, "", syllables=lambda word: 1)
    assert "<ruby>a&lt;b<rt>&lt;</rt></ruby> <ruby>c&amp;d<rt>&amp;</rt></ruby>" in over


def test_marks_go_to_the_words_of_their_syllables() -> None:
    first, second, third = scanned(POEM, SCAN, rhymes, count)
    assert [word.marks for word in first.words] == ["x", "/x", "/", "x", "/", "x", "/x", "/"]
    assert "".join(word.marks for word in third.words) == third.marks == "x/x/"
    assert (second.marks, second.over_words, {word.marks for word in second.words}) == (None, False, {""})
    assert [line.rhyme for line in (first, second, third)] == ["a", "", "a"]


def test_punctuation_is_taken_off_before_syllables_are_counted_and_a_dash_has_none() -> None:
    asked: list[str] = []

    def heard(word: str) -> int:
        asked.append(word)
        return 1

    (line,) = scanned(["\"'Tis he,\" -- (o'er the way)!"], lambda line: "x/x/x", rhymes, heard)
    assert asked == ["'Tis", "he", "o'er", "the", "way"]
    assert [word.marks for word in line.words] == ["x", "/", "", "x", "/", "x"]


@pytest.mark.parametrize("wrong", [lambda word: 2, lambda word: None])
def test_marks_that_do_not_fit_the_words_stand_at_the_end(wrong: object) -> None:
    for page in (
        verse_page([POEM[2:]], SCAN, rhymes, "", syllables=wrong),  # type: ignore[arg-type]
        verse_page([POEM[2:]], SCAN, rhymes, ""),
    ):
        assert '<span>and one more day</span><span class="marks">x/x/</span></div>' in page
    for text in (
        verse_text([POEM[2:]], SCAN, rhymes, "", syllables=wrong),  # type: ignore[arg-type]
        verse_text([POEM[2:]], SCAN, rhymes, ""),
    ):
        assert text.splitlines()[-1] == "  and one more day   x/x/"


def test_lines_out_of_metre_are_pointed_out() -> None:
    page = verse_page([POEM], SCAN, rhymes, "")
    assert [("free" in each) for each in re.findall(r'<div class="(line[^"]*)"', page)] == [False, True, False]
    text = verse_text([POEM], SCAN, rhymes, "")
    assert [line[0] for line in text.splitlines()[-3:]] == [" ", "?", " "]


def test_marks_of_text_stand_over_their_words() -> None:
    above, below = verse_text([POEM[:1]], SCAN, rhymes, "", syllables=count).splitlines()[-2:]
    starts = [match.start() for match in re.finditer(r"\S+", below)]
    assert [above[i] for i in starts] == ["x", "/", "/", "x", "/", "x", "/", "/"]  # the first syllable of each word
    assert above.replace(" ", "") == "x/x/x/x/x/"
    short = verse_text([["I a b"]], lambda line: "/x/x/", rhymes, "", syllables=lambda word: 3 if word == "a" else 1)
    assert short.splitlines()[-2:] == ["  / x/ x  /", "  I a     b"]


def test_letters_of_rhymes_go_on_after_z() -> None:
    poem = [f"{word} {i}" for i in range(30) for word in ("so", "no")]
    found = [line.rhyme for line in scanned(poem, lambda line: None, rhymes)]
    assert found[::2] == found[1::2]
    assert (found[0], found[50], found[52], found[58]) == ("a", "z", "aa", "ad")


def test_a_page_without_poems_lines_or_words() -> None:
    for poems in ([], [[]], [[""], ["  \t"]]):
        Balanced(verse_page(poems, lambda line: None, lambda a, b: False, "Verses", "0 lines"))
        assert verse_text(poems, lambda line: None, lambda a, b: False, "Verses", "0 lines").startswith(
            "Verses\n0 lines\n"
        )


def test_blanks_and_line_ends_within_a_line_become_one_blank_and_all_can_be_written() -> None:
    page = verse_page([["one\ttwo\n three\udcff"]], lambda line: None, lambda a, b: False, "é漢")
    assert visible(page) == ["one two three?"]
    assert "é漢" in page.encode("utf-8").decode("utf-8")
