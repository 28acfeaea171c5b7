"""Words of callers at a terminal: nothing that they have written may move the cursor or hide."""

from __future__ import annotations

import logging
import re
import sys
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from flask import current_app

from ..answering import dumps
from .terminal import Coloured
from .terminal import takes_colours

#: What shows as nothing, though Python counts it as printable: fillers, joiners and variation
#: selectors. With one of them in it, a name looks like another name.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

PACKAGE = str(Path(__file__).parent.parent)


def printable(value: t.Any) -> str:
    """A value as text on one line, without what a terminal obeys or does not show.

    >>> printable("\\x1b[2Jgone")
    '\ufffd[2Jgone'
    """
    text = "" if value is None else str(value)
    return _replace("[^ -~]", lambda char: "\N{REPLACEMENT CHARACTER}", text)


def printable_lines(text: str) -> str:
    """The same for text that may have several lines."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: t.Any) -> str:
    """JSON of the same value, in which what a terminal obeys or does not show is escaped."""
    # Below the tilde, JSON escapes it anyway.
    return _replace("[^\0-~]", _escape, dumps(value))


def tell(*parts: str | Coloured, err: bool = False) -> None:
    """Print lines. What a caller wrote in one of them goes through :func:`printable` first."""
    stream = sys.stderr if err else sys.stdout
    coloured = takes_colours(stream)
    # Without colours of ours, click leaves out those of others where there is no terminal.
    click.echo(painted(*parts, coloured=coloured), err=err, color=True if coloured else None)


def painted(*parts: str | Coloured, coloured: bool) -> str:
    """What is printed of some texts, each without what a terminal obeys, but for its colour."""
    found = []
    for part in parts:
        text, colour = part if isinstance(part, Coloured) else (part, None)
        clean = printable_lines(text)
        found.append(click.style(clean, fg=colour) if coloured and colour and clean else clean)
    return "".join(found)


@contextmanager
def printable_errors() -> Iterator[None]:
    """Let click show its own errors, which repeat arguments, as :func:`tell` would."""
    try:
        yield
    except click.ClickException as error:
        shown: t.Any = error
        shown.message = printable_lines(error.message)
        raise


@contextmanager
def printable_logs() -> Iterator[None]:
    """Let the lines that this package logs in the block be printable: they show at the terminal."""
    current_app.logger.addFilter(_clean)
    try:
        yield
    finally:
        current_app.logger.removeFilter(_clean)


def _clean(record: logging.LogRecord) -> bool:
    if record.pathname.startswith(PACKAGE):
        if isinstance(record.args, tuple):
            record.args = tuple(
                printable_lines(one) if isinstance(one, str) else one for one in record.args
            )
        if record.exc_info and not record.exc_text:
            # Formatters take this text. What was raised stays, for those who ship it.
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_text = printable_lines(trace)
    return True


def _replace(suspects: str, how: Callable[[str], str], text: str) -> str:
    if text.isascii() and text.isprintable():
        return text

    def replace(found: re.Match[str]) -> str:
        char = found[0]
        hidden = not char.isprintable() or INVISIBLE.match(char)
        return how(char) if hidden else char

    return re.sub(suspects, replace, text)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex("-", 2)
    return "".join(f"\\u{unit}" for unit in units.split("-"))
