"""One line of progress at the foot of a terminal, however narrow that is."""

from __future__ import annotations

import time
import typing as t

from ..rules.spans import clock
from .terminal import Coloured
from .terminal import cut
from .terminal import room_of
from .terminal import takes_colours
from .terminal import width
from .text import painted

#: Columns of the bar itself. In fewer it says nothing, and is left out.
_MOST, _LEAST = 30, 10

#: Goes to the beginning of the line, and clears it.
CLEAR = "\r\x1b[K"


class Bar:
    """Draws over its own line. Where it ends, the line stays.

    :param stream: the terminal.
    """

    def __init__(self, stream: t.TextIO) -> None:
        self.stream = stream
        #: The last moment before anything moved, and how much was done by then.
        self.begun: tuple[float, int] | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *args: object) -> None:
        if self.begun is not None:
            self.stream.write("\n")
            self.stream.flush()

    def draw(self, label: Coloured, done: int, of: int | None, info: str) -> None:
        """Show how much is done.

        :param of: how much there is to do; ``None`` if nobody knows.
        :param info: what there is to say beside it; the first that is cut.
        """
        now = time.monotonic()
        if self.begun is None or done <= self.begun[1]:
            self.begun = now, done
        since, before = self.begun
        left = ""
        if of is not None and before < done < of:
            left = clock((now - since) / (done - before) * (of - done))
        # A terminal goes on to the next line once the last column is written.
        room = (width() or 80) - 1
        shown = line(label.text, done, of, left, info, room)
        head = Coloured(shown[: len(label.text)], label.colour)
        rest = shown[len(head.text) :]
        text = painted(head, rest, coloured=takes_colours(self.stream))
        self.stream.write(CLEAR + text)
        self.stream.flush()


def line(label: str, done: int, of: int | None, left: str, info: str, room: int) -> str:
    """The line in so many columns.

    >>> line("running", 3, 12, "00:00:09", "3 completed", 60)
    'running  [#####---------------]  3/12  00:00:09  3 completed'
    >>> line("running", 3, 12, "00:00:09", "3 completed", 40)
    'running  3/12  00:00:09  3 completed'
    >>> line("running", 3, 12, "00:00:09", "3 completed", 30)
    'running  3/12  00:00:09  3 co\u2026'
    """
    numbers = f"{done:,}" if of is None else f"{done:,}/{of:,}"
    words = "  ".join(filter(None, (numbers, left, info)))
    spare = min(room - room_of(label) - room_of(words) - len("  []  "), _MOST)
    bar = ""
    if of and spare >= _LEAST:
        filled = min(spare * done // of, spare)
        bar = f"[{'#' * filled}{'-' * (spare - filled)}]  "
    return cut(f"{label}  {bar}{words}", room)
