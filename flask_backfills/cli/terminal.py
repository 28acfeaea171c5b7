"""The terminal that is written to: its width, its colours, and how much room a text takes."""

from __future__ import annotations

import os
import sys
import textwrap
import typing as t
import unicodedata

#: The colour of each word that people see for a status.
COLOURS = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "paused": "yellow",
}

#: Ends a text that was cut.
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

#: For a terminal that does not say how wide it is.
_COLUMNS = 80


class Coloured(t.NamedTuple):
    """A text that has a colour where colours are wanted. Others see the text alone."""

    text: str
    colour: str | None


def of_status(text: str) -> Coloured:
    """A text that is a status, or ends with one in parentheses, in the colour of its status."""
    last = text.rstrip(")").split(" ")[-1].lstrip("(")
    return Coloured(text, COLOURS.get(last))


def is_terminal() -> bool:
    return sys.stdout.isatty()


def can_be_drawn_on() -> bool:
    """Whether a line of the output can be replaced."""
    return is_terminal() and os.environ.get("TERM") != "dumb"


def takes_colours(stream: t.TextIO) -> bool:
    """Whether a stream is to be coloured.

    ``NO_COLOR`` and ``FORCE_COLOR`` decide if they are set and not empty, in this order. Otherwise
    it is coloured if it is a terminal, and not a dumb one.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """How many columns the terminal has; ``None`` where the output is none, and nothing is cut."""
    if not is_terminal():
        return None
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and len(asked) < 6 and int(asked):
        return int(asked)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


def room_of(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> room_of("July"), room_of("\u4e03\u6708"), room_of("Ju\u0301lio")
    (4, 4, 5)
    """
    return len(text) if text.isascii() else sum(map(_room_of, text))


def cut(text: str, room: int) -> str:
    """A text that takes no more columns, with an ellipsis where it was cut.

    >>> cut("Temperatures", 12), cut("Temperatures", 8)
    ('Temperatures', 'Tempera\u2026')
    """
    if room_of(text) <= room:
        return text
    left, kept = room - 1, []
    for char in text:
        left -= _room_of(char)
        if left < 0:
            break
        kept.append(char)
    return "".join(kept) + ELLIPSIS if room > 0 else ""


def wrapped(text: str, indent: int) -> list[str]:
    """The lines of a text, on a terminal also broken between words where they would not fit.

    :param indent: how many columns stand before each line.
    """
    most = width()
    lines = text.split("\n")
    if most is None:
        return lines
    fold = textwrap.TextWrapper(
        max(most - indent, 20), break_long_words=False, break_on_hyphens=False
    )
    return [part for line in lines for part in fold.wrap(line) or [""]]


def _room_of(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
