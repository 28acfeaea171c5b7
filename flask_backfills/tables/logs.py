"""What is logged while runs are worked on: nothing may end because it could not be logged."""

from __future__ import annotations

import logging
import time
import typing as t
from contextlib import suppress

from flask import current_app
from flask import Flask

#: Seconds after which it is logged again what is wrong.
AGAIN = 60.0


def log(level: int, text: str, *args: t.Any, app: Flask | None = None, **options: t.Any) -> None:
    """Write to the log of an app; a filter of the host's own may raise.

    Such as one that asks for a request, which workers have not.

    :param app: the current one if ``None``.
    :param options: those of :meth:`logging.Logger.log`.
    """
    # As of who calls this, whose module Flask's own format names.
    options.setdefault("stacklevel", 2)
    with suppress(Exception):
        (app or current_app).logger.log(level, text, *args, **options)


def warn(text: str, *args: t.Any, app: Flask | None = None) -> None:
    """The same of what is made up for later, or needs somebody to look."""
    log(logging.WARNING, text, *args, app=app, stacklevel=3)


class Seldom:
    """Warns of what may be wrong for long, such as with a backfill, once in a while."""

    def __init__(self) -> None:
        self._told: dict[t.Any, float] = {}

    def warn(self, key: t.Any, text: str, *args: t.Any, app: Flask | None = None) -> None:
        """Warn, unless that was done lately for a key."""
        now = time.monotonic()
        if now - self._told.get(key, float("-inf")) > AGAIN:
            self._told[key] = now
            log(logging.WARNING, text, *args, app=app, stacklevel=3)
