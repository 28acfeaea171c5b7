"""What the database interrupts is done again: a deadlock, a lock timeout, a lost connection."""

from __future__ import annotations

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
    do: Callable[[], R],
    is_alone: Callable[[], bool],
    *,
    seconds: float = PATIENCE,
    twice: bool = True,
) -> R:
    """Do something, and again if the database interrupts it; with longer and longer pauses.

    :param do: leaves nothing behind when it was interrupted.
    :param is_alone: whether nothing of the host's was undone with it, which can't be done again.
    :param seconds: the time for which it is tried.
    :param twice: whether it may be done again if the answer to its commit was lost.
    """
    until = time.monotonic() + seconds
    pause = 0.01
    while True:
        try:
            return do()
        except Otherwise:
            continue
        except Exception as error:
            passes = dbapi.passes(error) and (twice or not isinstance(error, Unanswered))
            if not passes or time.monotonic() + pause > until or not is_alone():
                raise
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, 1)


def read(opener: Callable[[], Session], do: Callable[[], R]) -> R:
    """Do what only reads, and again if the database interrupts it.

    :param opener: returns the session to use now.
    """

    def is_alone() -> bool:
        session = opener()
        return not has_changes(session) and undo(session)

    return patiently(do, is_alone)
