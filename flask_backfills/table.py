"""The host's table of backfills: found, locked, and one transaction a request."""

from __future__ import annotations

import sqlite3
import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import lazyload
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session

from . import columns
from . import errors
from .schema import storable

#: From a SELECT to a narrower one.
Scope = Callable[[t.Any], t.Any]


@dataclass(frozen=True)
class Table:
    """A host's model, its session, and what of it may be seen at all."""

    model: type[t.Any]
    session: Session | scoped_session[Session]
    scope: Scope | None = None

    def find(self, pipeline_uuid: str, backfill_id: t.Any, *, lock: bool = False) -> t.Any:
        """One backfill of one pipeline.

        :param lock: hold it, from before it is read to the end of the transaction.
        :raises flask_backfills.errors.NotFound: if that pipeline has no such backfill.
        """
        mapper = columns.mapper_of(self.model)
        if not storable(pipeline_uuid) or not _may_be_key(columns.key_column(mapper), backfill_id):
            raise errors.NotFound()
        key = getattr(self.model, columns.key_attribute(mapper))
        if columns.python_type(columns.key_column(mapper)) is str:
            backfill_id = str(backfill_id)
        query = sa.select(self.model).where(
            key == backfill_id, self.model.pipeline_uuid == pipeline_uuid
        )
        if self.scope is not None:
            query = self.scope(query)
        if lock:
            self._lock_sqlite(mapper)
            # One SELECT of one table: a joined relationship can't be locked on PostgreSQL.
            query = query.options(lazyload("*")).with_for_update(of=self.model)
            query = query.execution_options(populate_existing=True)
        found = self.session.scalars(query).unique().one_or_none()
        # A case-insensitive collation finds the rows of other pipelines too.
        if found is None or str(found.pipeline_uuid) != pipeline_uuid:
            raise errors.NotFound()
        return found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: commits what was done within, or rolls all of it back."""
        try:
            yield
            self.session.commit()
        except BaseException:
            self.session.rollback()
            raise

    def _lock_sqlite(self, mapper: t.Any) -> None:
        # SQLite has no FOR UPDATE, and its driver begins only at the first write, after
        # the read: take the write lock before.
        connection = self.session.connection(bind_arguments={"mapper": mapper})
        driver = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection) and not driver.in_transaction:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                raise errors.DatabaseUnavailable() from None


def _may_be_key(column: sa.Column[t.Any], value: t.Any) -> bool:
    if isinstance(value, int):
        least, most = columns.integer_range(column)
        return least <= value <= most
    return storable(str(value))
