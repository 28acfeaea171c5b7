"""Errors that differ only in numbers, dates and ids: which of them count as one failure."""

from __future__ import annotations

import hashlib
import re
import typing as t
from collections.abc import Iterable
from datetime import datetime

#: Characters of an error that are compared. A longer one counts as what begins the same.
COMPARED = 500

#: What stands for a part in which the errors of a group differ.
DIFFERS = "\N{HORIZONTAL ELLIPSIS}"

#: A UUID, or words that have a digit, joined by what joins the parts of a number or a date. Each
#: begins where a word begins, so that a long text takes no longer than its length. An error
#: of HTTP, such as 502, says what went wrong: it is none of them.
_VARIES = re.compile(
    r"(?<!\w)(?![45]\d\d(?!\w|[-+.:,/]\w*?\d))(?:"
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?!\w)"
    r"|[-+]?\w*?\d\w*(?:[-+.:,/]\w*?\d\w*)*"
    r")",
    re.IGNORECASE,
)


class Shape(t.NamedTuple):
    """An error as what stays and what varies: ``kept[0]``, ``varies[0]``, ``kept[1]``, ..."""

    kept: tuple[str, ...]
    varies: tuple[str, ...]

    def name(self) -> str:
        """A short name for all errors that have what stays in common."""
        return hashlib.sha256("\0".join(self.kept).encode("utf-8", "replace")).hexdigest()[:16]


def shape_of(error: str | None) -> Shape:
    """Take an error apart.

    >>> shape_of("502 from shop-7, 2023-07-01T00:00:00")
    Shape(kept=('502 from shop-', ', ', ''), varies=('7', '2023-07-01T00:00:00'))

    Of one that has no text, nothing varies:

    >>> shape_of(None)
    Shape(kept=('',), varies=())
    """
    kept, varies, end = [], [], 0
    text = (error or "")[:COMPARED]
    for found in _VARIES.finditer(text):
        kept.append(text[end : found.start()])
        varies.append(found[0])
        end = found.end()
    return Shape((*kept, text[end:]), tuple(varies))


class Seen(t.NamedTuple):
    """An error that runs have failed with."""

    error: str | None
    #: How many.
    runs: int
    #: The first and the last date of these runs, naive and in UTC; ``None`` if they have none.
    first: datetime | None = None
    last: datetime | None = None


class Failure(t.NamedTuple):
    """Errors that count as one."""

    #: Names it as long as its errors stay the same.
    name: str
    #: What its errors have in common, on one line.
    message: str
    #: How many runs have failed so.
    runs: int
    first: datetime | None
    last: datetime | None
    #: The errors themselves, as far as they are compared.
    errors: tuple[str | None, ...]


def failures(seen: Iterable[Seen]) -> list[Failure]:
    """Group errors, the most frequent group first.

    >>> for one in failures([
    ...     Seen("502 upstream", 30),
    ...     Seen("404 upstream", 2),
    ...     Seen("no reading at 12:00", 1),
    ...     Seen("no reading at 13:00", 4),
    ... ]):
    ...     print(one.runs, one.message)
    30 502 upstream
    5 no reading at …
    2 404 upstream

    :param seen: each error once.
    """
    found: dict[tuple[str, ...], list[tuple[Shape, Seen]]] = {}
    for one in seen:
        shape = shape_of(one.error)
        found.setdefault(shape.kept, []).append((shape, one))
    groups = [_failure(members) for members in found.values()]
    return sorted(groups, key=lambda one: (-one.runs, one.message, one.name))


def _failure(members: list[tuple[Shape, Seen]]) -> Failure:
    shape = members[0][0]
    firsts = [one.first for _, one in members if one.first is not None]
    lasts = [one.last for _, one in members if one.last is not None]
    return Failure(
        name=shape.name(),
        message=first_line(_common([shape for shape, _ in members])),
        runs=sum(one.runs for _, one in members),
        first=min(firsts, default=None),
        last=max(lasts, default=None),
        errors=tuple(one.error for _, one in members),
    )


def _common(shapes: list[Shape]) -> str:
    """The text of errors of one group, in which what differs is left out."""
    places = zip(*(one.varies for one in shapes), strict=True)
    varies = [place[0] if len(set(place)) == 1 else DIFFERS for place in places]
    return "".join(a + b for a, b in zip(shapes[0].kept, [*varies, ""], strict=True))


def first_line(error: str) -> str:
    r"""The first line of an error that has something in it.

    >>> first_line("\n  no reading at 12:00\nTraceback ...")
    'no reading at 12:00'
    """
    return next((line.strip() for line in error.splitlines() if line.strip()), "")
