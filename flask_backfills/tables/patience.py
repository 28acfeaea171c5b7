"""What the database interrupts is done again: a deadlock, a lock timeout, a lost connection."""

from __future__ import annotations

import functools
import random
import time
import typing as t
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import dbapi
from .session import has_changes
from .session import undo

#: Seconds for which a request tries again before it is a 503.
PATIENCE = 1.0

R = t.TypeVar("R")


class Otherwise(Exception):
    """Raised in a transaction of ours that has to be done again, since it goes otherwise then."""


class Unanswered(sa.exc.OperationalError):
    """A commit that may have been done or not: the connection was lost before the answer."""


def patiently(
    opener: Callable[[], Session],
    do: Callable[[], R],
    *,
    seconds: float = PATIENCE,
    twice: bool = True,
) -> R:
    """Do something, and again if the database interrupts it; with longer and longer pauses.

    Not if the host has changed something in its session: it would be lost, and not done again.

    :param opener: returns the session to use now.
    :param do: leaves nothing behind when the session is rolled back.
    :param seconds: the time for which it is tried.
    :param twice: whether it may be done again if the answer to its commit was lost.
    """
    until = time.monotonic() + seconds
    pause = 0.01
    alone = not has_changes(opener())
    while True:
        try:
            return do()
        except Otherwise:
            continue
        except Exception as error:
            passes = alone and dbapi.passes(error)
            if not twice and isinstance(error, Unanswered):
                passes = False
            if not passes or time.monotonic() + pause > until:
                raise
        undo(opener())
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, 1)


def reading(opener: Callable[[], Session], view: Callable[..., R]) -> Callable[..., R]:
    """A view that only reads, which is called again if the database interrupts it."""

    @functools.wraps(view)
    def read(*args: t.Any, **parts: t.Any) -> R:
        return patiently(opener, functools.partial(view, *args, **parts))

    return read
