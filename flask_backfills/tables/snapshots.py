"""The host's own transaction at a stricter isolation level, and rows that others wrote meanwhile."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .database import Database


@contextmanager
def marked(database: Database, query: Callable[[], t.Any]) -> Iterator[None]:
    """Let each transaction of the host's in the block begin with a SELECT that locks.

    For PostgreSQL's stricter levels, where it could not write a row that was renewed since.
    """
    if not database.snapshots:
        yield
        return

    def lock(session: Session, transaction: t.Any, connection: sa.Connection) -> None:
        connection.execute(query())

    session = database.session
    sa.event.listen(session, "after_begin", lock)
    try:
        yield
    finally:
        sa.event.remove(session, "after_begin", lock)


@contextmanager
def past_snapshot(database: Database) -> Iterator[None]:
    """Let the host's transaction write rows in the block that others wrote since it began.

    Its criteria see the latest. PostgreSQL can't do that: see :func:`marked`.
    """
    session = database.session
    if not database.mysql or database.is_ours or database.level != "SNAPSHOT":
        yield
        return
    connection = session.connection(bind_arguments={"mapper": database.mapper})
    connection.exec_driver_sql("SET SESSION innodb_snapshot_isolation = OFF")
    try:
        yield
    finally:
        connection.exec_driver_sql("SET SESSION innodb_snapshot_isolation = ON")
