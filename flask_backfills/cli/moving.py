"""The runs that a worker ends, as they are told while it works; what the app prints meanwhile."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
import typing as t
from collections import Counter
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import redirect_stderr
from contextlib import redirect_stdout

from flask import current_app

from ..host import Host
from .bar import Bar
from .bar import CLEAR
from .printing import counts_of
from .printing import print_json
from .terminal import can_be_drawn_on
from .terminal import Coloured
from .text import printable
from .text import tell

#: What people read of a run that was not the worker's to end any more.
DISCARDED = "result discarded (cancelled, interrupted, late or reassigned)"


def told_of(ended: Counter[str]) -> str:
    counted = counts_of({"run_status_counts": ended})
    discarded = f"{ended[DISCARDED]:,} {DISCARDED}" if ended[DISCARDED] else ""
    return ", ".join(filter(None, (counted, discarded)))


@contextmanager
def telling_runs(host: Host, as_json: bool) -> Iterator[Callable[[t.Any, str | None], None]]:
    """Report each run that a worker has ended: a progress bar on a terminal, else a line."""
    if as_json:
        schema = host.run_table.schema
        yield lambda run, status: print_json({"run": {**schema.dump(run), "status": status}})
        return
    if not can_be_drawn_on():
        yield lambda run, status: tell(
            f"{status or DISCARDED}: run {printable(run.key)} of backfill"
            f" {printable(run.backfill_id)}"
        )
        return
    ended: Counter[str] = Counter()
    lock = threading.RLock()
    counted = -math.inf
    bar, known = Bar(sys.stdout), 0
    with lines_above(lock), bar:

        def count(run: t.Any, status: str | None) -> None:
            nonlocal counted, known
            with lock:
                ended[status or DISCARDED] += 1
                if time.monotonic() - counted > 1:
                    known = ended.total() + host.progress.count_active()
                    counted = time.monotonic()
                known = max(known, ended.total())
                bar.draw(Coloured("Runs", None), ended.total(), known, told_of(ended))

        yield count


@contextmanager
def lines_above(lock: threading.RLock) -> Iterator[None]:
    """Let the lines that the app prints and logs in the block stand above the bar.

    The bar is drawn again at its next change.

    :param lock: held while the bar is drawn.
    """
    whole = _WholeLines(sys.stdout, lock), _WholeLines(sys.stderr, lock)
    loggers: list[t.Any] = [logging.getLogger(), current_app.logger]
    handlers = [one for logger in loggers for one in logger.handlers]
    # Most handlers remember the stream that there was when they were made.
    moved = [
        (handler, one)
        for handler in handlers
        for one in whole
        if getattr(handler, "stream", None) is one.stream
    ]
    for handler, one in moved:
        handler.setStream(one)
    try:
        with redirect_stdout(t.cast(t.TextIO, whole[0])):
            with redirect_stderr(t.cast(t.TextIO, whole[1])):
                yield
    finally:
        for handler, one in moved:
            handler.setStream(one.stream)
        for one in whole:
            one.end()


class _WholeLines:
    """A stream that writes each thread's lines whole, and on a terminal in place of the bar."""

    def __init__(self, stream: t.TextIO, lock: threading.RLock) -> None:
        self.stream = stream
        self.lock = lock
        self.clear = CLEAR if stream.isatty() else ""
        #: The last line of each thread, as far as it goes.
        self.begun: defaultdict[int, str] = defaultdict(str)

    def write(self, text: str) -> int:
        thread = threading.get_ident()
        lines, newline, self.begun[thread] = (self.begun[thread] + text).rpartition("\n")
        if newline:
            with self.lock:
                self.stream.write(f"{self.clear}{lines}\n")
        return len(text)

    def end(self) -> None:
        """Write what no line has ended."""
        self.stream.writelines(f"{line}\n" for line in self.begun.values() if line)

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self.stream, name)
