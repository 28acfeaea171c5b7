"""The host's own transaction at a stricter isolation level, and rows that others wrote meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from .database import Database
from .isolation import STRICT
from .marks import knows_marks


def is_snapshot(database: Database, connection: sa.Connection) -> bool:
    """Whether a transaction that has begun can't write what others write from now on.

    At PostgreSQL's stricter levels, be it that the host asks for one in this transaction alone,
    and on a MariaDB with snapshot isolation. A session may have connections to several databases.
    """
    if connection.engine.pool is not database.engine.pool:
        return False
    if database.mysql:
        return database.level == "SNAPSHOT" and not database.is_ours and knows_marks(connection)
    if connection.dialect.name != "postgresql":
        return False
    level = connection.get_execution_options().get("isolation_level", database.level)
    return level in STRICT


@contextmanager
def past_snapshot(database: Database) -> Iterator[None]:
    """Let the host's transaction write rows in the block that others wrote since it began.

    Its criteria see the latest. PostgreSQL can't do that: see :func:`is_snapshot`.
    """
    if not database.mysql or database.is_ours or database.level != "SNAPSHOT":
        yield
        return
    connection = database.connection()
    connection.exec_driver_sql("SET SESSION innodb_snapshot_isolation = OFF")
    try:
        yield
    finally:
        # One that was lost meanwhile has lost that too, and would hide why.
        if not connection.invalidated:
            connection.exec_driver_sql("SET SESSION innodb_snapshot_isolation = ON")
