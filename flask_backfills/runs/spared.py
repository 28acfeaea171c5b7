"""Writes that may be refused without undoing what is beside them in their transaction."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from contextlib import nullcontext

from .. import dbapi
from ..tables.database import Database
from ..tables.patience import Otherwise


class Spared:
    """Knows for which backfills such a write was refused before.

    Only for those it takes a savepoint: most are never refused.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._refused: set[t.Any] = set()

    def write(self, backfill_id: t.Any, write: Callable[[], t.Any]) -> Exception | None:
        """Write something at once.

        :returns: why it was refused; ``None`` if it was written.
        :raises Otherwise: the first time that it is refused, which undoes the transaction.
        """
        session = self.database.session
        # Whatever else waits to be written is not what may be refused.
        session.flush()
        apart = backfill_id in self._refused or not self.database.is_ours
        try:
            with session.begin_nested() if apart else nullcontext():
                write()
                session.flush()
        except Exception as error:
            if dbapi.passes(error):
                raise
            if not apart:
                self._refused.add(backfill_id)
                raise Otherwise from error
            return error
        return None
