"""Cells in a grid: how they are filled, what is told of them, and how they are laid out."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from collections.abc import Sequence
from datetime import datetime
from datetime import tzinfo

from ..rules.grid import Layout
from ..rules.shares import shares
from ..rules.sight import seen
from ..rules.window import wall
from .wording import Translate

#: How many cells a row has where there is no calendar.
WIDTH = 20

#: Rows of a block. Blocks stand beside each other where there is room.
ROWS = 14

#: The least of a cell that is filled, in hundredths, so that one failed run of many is seen.
LEAST = 14

#: What fills a cell from its top, and what from its bottom. What is neither fills nothing.
TOP = ("failed", "cancelled", "drop", "redo", "skip")
BOTTOM = ("running", "twice", "completed", "add")

#: Texts for what a cell stands for, by its kind.
EACH = {
    "minute": "Each cell stands for {units} minutes.",
    "hour": "Each cell stands for an hour.",
    "day": "Each cell stands for a day.",
    "week": "Each cell stands for a week.",
    "month": "Each cell stands for a month.",
    "year": "Each cell stands for a year.",
    "years": "Each cell stands for {units} years.",
    "runs": "Each cell stands for several runs.",
}


class Part(t.NamedTuple):
    """What fills a part of a cell, in hundredths of its height."""

    kind: str
    start: float
    height: float


class Cell(t.NamedTuple):
    """One run or several: how it is coloured, what is told of it, and where it leads."""

    #: A status or an action; ``some`` for several.
    kind: str
    label: str
    url: str | None = None
    parts: Sequence[Part] = ()


class Row(t.NamedTuple):
    """Cells beside each other; ``None`` where there is nothing."""

    words: tuple[str, ...]
    cells: list[Cell | None]


class Grid(t.NamedTuple):
    """The cells of one calendar."""

    columns: tuple[str, ...]
    #: Rows in blocks, which stand beside each other where there is room.
    blocks: list[list[Row]]
    #: What a cell stands for, where it stands for several.
    each: str | None
    kind: str


def of_counts(
    counts: Mapping[str, int],
    words: Mapping[str, str],
    name: str,
    translate: Translate,
    reason: str | None = None,
    url: str | None = None,
) -> Cell:
    """A cell of several, filled in proportion to what they are.

    :param words: how each kind is told, in the order in which they are told.
    """
    kinds = [*(word for word in words if counts.get(word)), *(counts.keys() - words.keys())]
    total = sum(counts.values())
    each = ", ".join(
        translate(
            "{count} {what}", count=f"{counts[kind]:,}", what=translate(words.get(kind, kind))
        )
        for kind in kinds
    )
    one_kind = len(kinds) == 1
    told = each if total == 1 else translate("{count} runs, {each}", count=f"{total:,}", each=each)
    label = labelled(translate, name, told, reason)
    return Cell(kinds[0] if one_kind else "some", label, url, () if one_kind else parts(counts))


def parts(amounts: Mapping[str, float]) -> list[Part]:
    """What fills a cell: from the top what asks for something, from the bottom what is done.

    >>> for part in parts({"completed": 18, "failed": 6}):
    ...     print(*part)
    failed 0.0 25.0
    completed 25.0 75.0

    One of many is seen:

    >>> parts({"completed": 167, "failed": 1})[0]
    Part(kind='failed', start=0.0, height=14)
    """
    filled = shares(amounts, sum(amounts.values()), LEAST)
    found, top, bottom = [], 0.0, 100.0
    for kind in TOP:
        if kind in filled:
            found.append(Part(kind, round(top, 2), round(filled[kind], 2)))
            top += filled[kind]
    for kind in reversed(BOTTOM):
        if kind in filled:
            bottom -= filled[kind]
            found.append(Part(kind, round(bottom, 2), round(filled[kind], 2)))
    return found


def drawn(
    laid: Layout,
    found: Mapping[int, Cell],
    translate: Translate,
    is_several: bool = False,
) -> Grid:
    """The grid of a calendar, with what is in its cells."""
    rows = [
        Row(row.words, [*[None] * row.column, *(found.get(place) for place in row.places)])
        for row in laid.rows()
    ]
    kind, units = laid.level
    each = EACH["years" if kind == "year" and units > 1 else kind]
    # Few quarters have a fourteenth Monday.
    used = max(len(row.cells) for row in rows) if kind == "week" else None
    return Grid(
        laid.columns[:used],
        blocks(rows),
        translate(each, units=units) if is_several else None,
        kind,
    )


def in_order(found: list[Cell], each: str | None = None) -> list[Grid]:
    """The grid of cells that have no dates; none of no cells."""
    lines: list[list[Cell | None]] = [
        [*found[place : place + WIDTH]] for place in range(0, len(found), WIDTH)
    ]
    rows = [Row((), line) for line in lines]
    return [Grid((), [rows], each, "none")] if rows else []


def blocks(rows: list[Row]) -> list[list[Row]]:
    """Rows in blocks of almost the same length."""
    count = -(-len(rows) // ROWS)
    return [
        rows[place * len(rows) // count : (place + 1) * len(rows) // count]
        for place in range(count)
    ]


def labelled(translate: Translate, name: str, told: str, reason: str | None) -> str:
    label = translate("{name}: {told}", name=name, told=told)
    return seen(f"{label}. {reason}" if reason else label)


def spanned(ends: tuple[str, str], translate: Translate) -> str:
    first, last = ends
    return first if first == last else translate("{first} to {last}", first=first, last=last)


def named(date: datetime, zone: tzinfo) -> str:
    """A date as people read it: without a time at midnight.

    >>> from datetime import timezone
    >>> named(datetime(2023, 7, 1), timezone.utc), named(datetime(2023, 7, 1, 6), timezone.utc)
    ('2023-07-01', '2023-07-01 06:00')
    """
    there = wall(date, zone)
    if (there.hour, there.minute, there.second, there.microsecond) == (0, 0, 0, 0):
        return there.date().isoformat()
    spec = "minutes" if not (there.second or there.microsecond) else "auto"
    return there.isoformat(sep=" ", timespec=spec)
