"""Tables that fit the terminal. What goes into a pipe is never cut.

Where the columns of a narrow terminal would say nothing any more, the last one, which has the
longest texts, goes below the others.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

from .terminal import Coloured
from .terminal import cut
from .terminal import room_of
from .terminal import width
from .text import printable
from .text import tell

#: The columns of text that may be cut, and the one that says little without its end only if it must
#: be. The others identify something, or are short.
CUT = [{"PIPELINE", "NAME", "ERROR", "REASON", "WHO", "CHANGES", "BACKFILLS"}, {"WINDOW"}]

#: A column that is cut keeps so much.
LEAST = 6

#: Where a column would keep less than this, the last one goes below the others: so much of a
#: sentence, and so much of a name.
READABLE = {"ERROR": 24, "REASON": 24, "CHANGES": 24}
_READABLE = 12

#: How far it stands in there.
_INDENT = Coloured("    ", None)

_GAP = "  "

Cell = Coloured | object


def print_table(head: tuple[str, ...], rows: Sequence[tuple[Cell, ...]]) -> None:
    cells = [tuple(map(_clean, row)) for row in (head, *rows)]
    widths = [max(room_of(cell.text) for cell in column) for column in zip(*cells, strict=True)]
    most = width()
    beside = len(head)
    if most is not None:
        fits, found = _fitted(head, widths, most)
        if not fits and len(head) > 2:
            beside -= 1
            _, found = _fitted(head[:-1], widths[:-1], most)
        widths = [*found, *widths[len(found) :]]
    for row in cells:
        parts: list[Coloured] = []
        for cell, room in zip(row[:beside], widths[:beside], strict=True):
            text = cut(cell.text, room)
            padding = " " * (room - room_of(text))
            parts += [Coloured(text, cell.colour), Coloured(padding + _GAP, None)]
        _tell_row(parts, most)
        for below in row[beside:]:
            if below.text:
                _tell_row([_INDENT, below], most)


def _fitted(head: Sequence[str], widths: Sequence[int], most: int) -> tuple[bool, list[int]]:
    """The widths of columns on a terminal, and whether what is cut can still be read."""
    room = most - len(_GAP) * (len(head) - 1)
    found = list(widths)
    for names in CUT:
        found = fitted(found, [name in names for name in head], room)
    least = (
        min(READABLE.get(name, _READABLE), old) for name, old in zip(head, widths, strict=True)
    )
    return sum(found) <= room and all(map(operator.ge, found, least)), found


def fitted(widths: Sequence[int], may_be_cut: Sequence[bool], room: int) -> list[int]:
    """The widths of columns in so much room. The widest that may be cut gives first.

    >>> fitted([2, 30, 40], [False, True, True], 50)
    [2, 24, 24]

    If they can't fit, the sum is larger than the room.
    """
    found = list(widths)
    while sum(found) > room:
        able = [i for i, one in enumerate(found) if may_be_cut[i] and one > LEAST]
        if not able:
            break
        found[max(able, key=found.__getitem__)] -= 1
    return found


def _clean(cell: Cell) -> Coloured:
    if isinstance(cell, Coloured):
        return Coloured(printable(cell.text), cell.colour)
    return Coloured(printable(cell), None)


def _tell_row(parts: list[Coloured], most: int | None) -> None:
    """Print a row without blanks at its end, cut where even the least does not fit."""
    while parts and not parts[-1].text.strip():
        parts.pop()
    kept = []
    for part in parts:
        text = part.text if most is None else cut(part.text, most)
        kept.append(Coloured(text, part.colour))
        if most is not None:
            most -= room_of(text)
            if text != part.text:
                break
    tell(*kept)
