"""The host's own transaction at a stricter isolation level, and rows that others wrote meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from .database import Database
from .isolation import STRICT
from .session import has_begun_in
from .session import is_pending
from .session import undo

#: What ``connection.info`` knows of a connection to MariaDB.
_REFUSES = "flask_backfills.refuses"
_IS_ALONE = "flask_backfills.is_alone"


def is_snapshot(database: Database, connection: sa.Connection) -> bool:
    """Whether a transaction that has begun can't write what others write from now on.

    At PostgreSQL's stricter levels, be it that the host asks for one in this transaction alone,
    and on a MariaDB with snapshot isolation. A session may have connections to several databases.
    """
    if database.is_ours or connection.engine.pool is not database.engine.pool:
        return False
    if connection.dialect.name == "postgresql":
        level = connection.get_execution_options().get("isolation_level", database.level)
        return level.replace("_", " ").upper() in STRICT
    return _refuses(connection) and connection.info[_IS_ALONE]


@contextmanager
def past_snapshot(database: Database) -> Iterator[None]:
    """Let the host's transaction write rows in the block that others wrote since it began.

    Its criteria see the latest. PostgreSQL can't do that: see :func:`is_snapshot`.
    """
    if database.is_ours or not database.mysql or not _refuses(database.connection()):
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


def end_read_only(database: Database) -> None:
    """End the host's own transaction if it can't write, since the host has asked for that."""
    session = database.session
    if not has_begun_in(session, database.mapper) or is_pending(session):
        return
    if database.connection().get_execution_options().get("postgresql_readonly"):
        undo(session)


def _refuses(connection: sa.Connection) -> bool:
    """Whether a connection to MariaDB has snapshot isolation, asked for once."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        return False
    if _REFUSES not in connection.info:
        asked = "SHOW VARIABLES WHERE Variable_name IN ('innodb_snapshot_isolation', 'wsrep_on')"
        found = {name: value for name, value in connection.exec_driver_sql(asked)}
        connection.info[_REFUSES] = found.get("innodb_snapshot_isolation") == "ON"
        # Each node of a cluster has marks of its own.
        connection.info[_IS_ALONE] = found.get("wsrep_on") != "ON"
    return bool(connection.info[_REFUSES])
