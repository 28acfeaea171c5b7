"""The host's session as one transaction at a time, and what differs between databases."""

from __future__ import annotations

import logging
import threading
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from contextlib import nullcontext
from contextlib import suppress
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import Session

from .. import dbapi
from . import columns
from . import sqlite
from .clock import Clock
from .isolation import level_of
from .isolation import STRICT
from .logs import log
from .patience import PATIENCE
from .patience import patiently
from .patience import Unanswered
from .session import has_begun
from .session import has_begun_in
from .session import has_changes
from .session import is_pending
from .session import undo

#: What ``session.info`` knows of a transaction that we began, at READ COMMITTED.
_OURS = "flask_backfills.ours"

_MYSQL = ("mysql", "mariadb")

#: The time by the clock of a database that may run on another machine than we; in UTC, or aware.
_NOW: dict[str, t.Any] = {
    "postgresql": sa.func.clock_timestamp(),
    **dict.fromkeys(_MYSQL, sa.func.utc_timestamp(6)),
}

#: Held by a transaction on a connection that all threads share.
_ALONE = threading.RLock()

R = t.TypeVar("R")


class Database:
    """The database that a host's model is in.

    :param opener: returns the session to use now.
    :param mapper: the model's mapper. A session may be bound to several databases.
    """

    def __init__(self, opener: Callable[[], Session], mapper: Mapper[t.Any]) -> None:
        self.opener = opener
        self.mapper = mapper
        self.clock = Clock()
        self._levels: dict[sa.Engine, str] = {}

    @property
    def session(self) -> Session:
        """The session of this thread."""
        return self.opener()

    @contextmanager
    def transaction(self, *, keep: bool = True, ranges: bool = False) -> Iterator[None]:
        """Commit what was done within the block, or roll all of it back.

        :param keep: ``False`` to roll back at the end in any case.
        :param ranges: whether rows are locked that are not known by their keys. MySQL would
            lock what is between them, too.
        """
        session = self.session
        bind = session.get_bind(self.mapper)
        # What is only read needs no end where the host's own transaction would end with it.
        ends = keep or not has_changes(session)
        with alone(bind.engine):
            try:
                self._begin(session, bind, ranges)
                yield
                if keep:
                    session.flush()
                    self.commit()
                elif ends:
                    undo(session)
            except BaseException as error:
                if ends and dbapi.is_missing(error):
                    _leave(self, bind)
                if ends:
                    undo(session)
                raise
            finally:
                session.info.pop(_OURS, None)

    def commit(self) -> None:
        """Commit. What the host's own ``after_commit`` raises is logged, since it is stored.

        :raises Unanswered: if the connection was lost before the answer.
        """
        session = self.session
        try:
            session.commit()
        except Exception as error:
            if not undo(session):
                text = "after_commit has failed: what it follows is stored"
                log(logging.ERROR, text, exc_info=True)
                return
            if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
                lost = Unanswered("COMMIT", None, t.cast(Exception, error.orig))
                raise dbapi.ours(lost) from error
            raise

    def again(
        self,
        do: Callable[[], R],
        *,
        keep: bool = True,
        ranges: bool = False,
        seconds: float = PATIENCE,
        twice: bool = True,
    ) -> R:
        """Do something in a transaction; if the database interrupts it, do it again.

        A deadlock, a serialization failure, a lock timeout and a lost connection pass.

        :param do: leaves nothing behind when its transaction is rolled back.
        :param seconds: the time for which it is tried.
        :param twice: whether it may be done again if the answer to its commit was lost.
        """

        def once() -> R:
            with self.transaction(keep=keep, ranges=ranges):
                return do()

        # What the host has in the session would be lost, and not tried again.
        alone = not has_changes(self.session)
        return patiently(once, lambda: alone, seconds=seconds, twice=twice)

    def begin_writing(self) -> None:
        """On SQLite, take the write lock: it has no FOR UPDATE."""
        session = self.session
        if session.get_bind(self.mapper).dialect.name == "sqlite":
            connection = session.connection(bind_arguments={"mapper": self.mapper})
            sqlite.begin_writing(connection, columns.key_column(self.mapper).table)

    def connection(self, **options: t.Any) -> sa.Connection:
        """The connection of the session's transaction, with options if that has not begun."""
        arguments = {"mapper": self.mapper}
        return self.session.connection(bind_arguments=arguments, execution_options=options or None)

    def execute(self, statement: t.Any, rows: t.Any = None) -> t.Any:
        return self.session.execute(statement, rows, bind_arguments={"mapper": self.mapper})

    def latest(self, query: t.Any) -> t.Any:
        """Make a SELECT see what others have committed while this waited for its lock.

        In a transaction of the host's, MySQL's default isolation would show it what there was
        when the transaction first read. In one of ours, a plain SELECT sees the latest, and
        locks nothing.
        """
        if self.mysql and not self.is_ours:
            return query.with_for_update(read=True)
        return query

    def synchronize(self) -> None:
        """Ask the database for its time, unless that was done lately.

        In a transaction apart, or in that of the host's, which goes on.
        """
        session = self.session
        if not self.clock.is_old or is_pending(session):
            return
        if self.dialect.name not in _NOW:
            self.clock.set(None)
            return
        now = sa.select(_NOW[self.dialect.name])

        def ask() -> datetime:
            return t.cast(datetime, self.execute(now).scalar())

        if has_begun_in(session, self.mapper):
            self.clock.set(ask())
        elif not has_begun(session):
            self.clock.set(self.again(ask, keep=False))

    @property
    def is_ours(self) -> bool:
        """Whether the transaction is one that we began, which sees what others have committed."""
        return bool(self.session.info.get(_OURS))

    @property
    def shares_a_connection(self) -> bool:
        """Whether all threads share one connection, as in SQLite's memory they do."""
        return _is_shared(self.engine)

    @property
    def is_sqlite(self) -> bool:
        return self.dialect.name == "sqlite"

    @property
    def mysql(self) -> sa.Dialect | None:
        """The dialect of the database, if it is MySQL or MariaDB."""
        dialect = self.dialect
        return dialect if dialect.name in _MYSQL else None

    def _begin(self, session: Session, bind: sa.Engine | sa.Connection, ranges: bool) -> None:
        """Begin a transaction that sees what others commit, whatever the engine's isolation."""
        # Be it before the session: a test that undoes itself begins on the connection.
        before = isinstance(bind, sa.Connection) and bind.in_transaction()
        session.info[_OURS] = ours = not before and not has_begun(session, bind)
        # Of ours alone: to ask for the level takes another connection of the pool.
        if not ours or (level := self._level_of(bind.engine)) not in STRICT or self.is_sqlite:
            return
        mysql = bind.dialect.name in _MYSQL
        if level == "REPEATABLE READ" and mysql and not ranges:
            # What is read after the lock is the latest there, too.
            return
        if mysql and not session.twophase:
            # For the next transaction alone: nothing has to be set back after it.
            self.connection().exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        else:
            self.connection(isolation_level="READ COMMITTED")

    @property
    def level(self) -> str:
        """The engine's isolation level, asked for once."""
        return self._level_of(self.engine)

    def _level_of(self, engine: sa.Engine) -> str:
        if engine not in self._levels:
            self._levels[engine] = level_of(engine)
            dbapi.mark(engine)
        if self._levels[engine] == "AUTOCOMMIT":
            raise RuntimeError(
                f"the engine of {self.mapper.class_.__name__} is in AUTOCOMMIT, so that nothing"
                " can be rolled back: create it with another isolation_level"
            )
        return self._levels[engine]

    @property
    def engine(self) -> sa.Engine:
        return self.session.get_bind(self.mapper).engine

    @property
    def dialect(self) -> sa.Dialect:
        return self.session.get_bind(self.mapper).dialect


def _leave(database: Database, bind: sa.Engine | sa.Connection) -> None:
    """Do not use a connection again on which the host may have set another schema."""
    # That of a test, or SQLite's, would be lost with what it holds.
    if isinstance(bind, sa.Engine) and bind.dialect.name in _NOW:
        with suppress(sa.exc.SQLAlchemyError):
            database.connection().invalidate()


def alone(engine: sa.Engine) -> AbstractContextManager[t.Any]:
    """Keeps other threads out, where all of them share one connection."""
    return _ALONE if _is_shared(engine) else nullcontext()


def _is_shared(engine: sa.Engine) -> bool:
    return isinstance(engine.pool, sa.StaticPool)
