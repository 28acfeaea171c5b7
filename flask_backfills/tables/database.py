"""The host's session as one transaction at a time, and what differs between databases."""

from __future__ import annotations

import sqlite3
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session

#: The host's session.
AnySession = Session | scoped_session[Session]


class Database:
    """The database that a host's model is in.

    :param mapper: the model's, since a session may be bound to several databases.
    """

    def __init__(self, session: AnySession, mapper: Mapper[t.Any]) -> None:
        self.session = session
        self.mapper = mapper

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """All or nothing: commits what was done within, or rolls all of it back.

        :param keep: ``False`` to roll back at the end in any case.
        """
        try:
            yield
            if keep:
                self.session.commit()
            else:
                self.session.rollback()
        except BaseException:
            self.session.rollback()
            raise

    def begin_writing(self) -> None:
        """On SQLite, take the write lock.

        It has no FOR UPDATE, and its driver begins only at the first write, after the read.
        """
        if self._dialect.name != "sqlite":
            return
        connection = self.session.connection(bind_arguments={"mapper": self.mapper})
        driver = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection) and not driver.in_transaction:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise sa.exc.OperationalError("BEGIN IMMEDIATE", None, error) from error

    def execute(self, statement: t.Any, rows: list[dict[str, t.Any]] | None = None) -> t.Any:
        return self.session.execute(statement, rows, bind_arguments={"mapper": self.mapper})

    def latest(self, query: t.Any) -> t.Any:
        """A SELECT that sees what others have committed while this waited for its lock.

        Under MySQL's default isolation a plain one shows what there was when the
        transaction first read, which a host's own function may have done.
        """
        return query.with_for_update(read=True) if self.mysql else query

    @property
    def mysql(self) -> sa.Dialect | None:
        """The dialect of the database, if it is MySQL or MariaDB, which differ from the rest."""
        return self._dialect if self._dialect.name in ("mysql", "mariadb") else None

    @property
    def _dialect(self) -> sa.Dialect:
        return self.session.get_bind(self.mapper).dialect
