"""Marks of runs whose lease can't be renewed while their runner's transaction is open.

An advisory lock of the database: it ends with who holds it, and keeps nobody from a row. A lock
of the run's own row would be a read, too, in the eyes of PostgreSQL's SERIALIZABLE: of a whole
page of the index, so that each run's end would refuse those of its neighbours.
"""

from __future__ import annotations

import hashlib
import typing as t

import sqlalchemy as sa

from .database import Database

#: What ``connection.info`` knows: the mark that a connection to MariaDB has.
_MARK = "flask_backfills.mark"


def knows_marks(connection: sa.Connection) -> bool:
    """Whether all who use a MariaDB see its locks: each node of a cluster has its own."""
    cluster = connection.exec_driver_sql("SHOW VARIABLES LIKE 'wsrep_on'").first()
    return cluster is None or cluster[1] != "ON"


def mark(connection: sa.Connection, name: str) -> None:
    """Mark a run until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(_number(name))))
        return
    # One that was left when a transaction was rolled back.
    unmark(connection)
    connection.execute(sa.select(sa.func.get_lock(name, 0)))
    connection.info[_MARK] = name


def unmark(connection: sa.Connection) -> None:
    """Take back the mark of a connection to MariaDB, where it does not end with a transaction."""
    if name := connection.info.pop(_MARK, None):
        connection.execute(sa.select(sa.func.release_lock(name)))


def is_marked(database: Database, name: str) -> bool:
    """Whether a run is marked. On PostgreSQL, nobody marks it until the transaction ends."""
    if database.dialect.name == "postgresql":
        free = sa.select(sa.func.pg_try_advisory_xact_lock(_number(name)))
        return not database.execute(free).scalar()
    if database.mysql and database.level == "SNAPSHOT":
        return database.execute(sa.select(sa.func.is_used_lock(name))).scalar() is not None
    return False


def name_of(database: Database, table: sa.Table, key: t.Any, worker: str | None) -> str:
    """What tells a run as it was claimed from all others, be they of another database."""
    told = f"{database.engine.url.database}/{table}/{key}/{worker}"
    # MariaDB takes up to 64 characters.
    return hashlib.sha256(told.encode()).hexdigest()


def _number(name: str) -> int:
    """The same as PostgreSQL's locks are named."""
    return int(name[:15], 16)
