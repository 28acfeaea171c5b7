"""Marks: what says that a worker is at a run whose lease it can't renew.

A mark is an advisory lock of the database, for which nobody waits. It is on a connection of the
worker's own, so that it outlives what a host does with its transactions. The server ends that
connection when it has heard nothing of the worker for a lease.
"""

from __future__ import annotations

import hashlib
import math
import typing as t

import sqlalchemy as sa

from .database import Database


class Marks:
    """The marks that a process has set."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._connection: sa.Connection | None = None
        self._held: set[str] = set()

    def hold(self, names: set[str], lease: float) -> None:
        """Hold these marks and no others, until the next call, or for some seconds.

        If that fails, those that were held before may stay.

        :param lease: the seconds.
        """
        if not names:
            self.end()
            return
        try:
            if self._connection is not None and self._hold_more(self._connection, names):
                return
        except sa.exc.DBAPIError:
            # The connection was lost, and all marks with it.
            self.end()
        anew = _connect(self.database.engine, lease)
        try:
            held = _take(anew, names)
        except BaseException:
            anew.close()
            raise
        self.end()
        self._connection, self._held = anew, held

    def _hold_more(self, connection: sa.Connection, names: set[str]) -> bool:
        """Hold these too; whether all others could be let go.

        PostgreSQL's end with their transaction, all together. They are the transaction's since a
        proxy may give a session many connections.
        """
        if self.database.mysql:
            for name in self._held - names:
                connection.execute(sa.select(sa.func.release_lock(name)))
            self._held &= names
        self._held |= _take(connection, names - self._held)
        return self._held <= names

    def end(self) -> None:
        """Give up all marks."""
        connection, self._connection, self._held = self._connection, None, set()
        if connection is not None:
            connection.close()


def _connect(engine: sa.Engine, lease: float) -> sa.Connection:
    """A connection that the pool does not count, and that ends when it is silent for a lease."""
    silence = f"SESSION wait_timeout = {max(math.ceil(lease), 1)}"
    options = {}
    if engine.dialect.name == "postgresql":
        milliseconds = min(max(math.ceil(1000 * lease), 1), 2**31 - 1)
        silence = f"idle_in_transaction_session_timeout = {milliseconds}"
        options["isolation_level"] = "READ COMMITTED"
    connection = engine.connect().execution_options(**options)
    connection.detach()
    try:
        connection.exec_driver_sql(f"SET {silence}")
    except BaseException:
        connection.close()
        raise
    return connection


def _take(connection: sa.Connection, names: set[str]) -> set[str]:
    """Set marks, and wait for nobody; those that were set.

    Be it none, the server hears that somebody is there.
    """
    connection.execute(sa.select(sa.literal(1)))

    def take(name: str) -> t.Any:
        if connection.dialect.name == "postgresql":
            return sa.func.pg_try_advisory_xact_lock_shared(_number(name))
        return sa.func.get_lock(name, 0)

    return {name for name in names if connection.execute(sa.select(take(name))).scalar()}


def is_marked(database: Database, name: str) -> bool:
    """Whether a run is marked. On PostgreSQL, nobody marks it until the transaction ends."""
    if database.dialect.name == "postgresql":
        free = sa.select(sa.func.pg_try_advisory_xact_lock(_number(name)))
        return not database.execute(free).scalar()
    if database.mysql:
        return database.execute(sa.select(sa.func.is_used_lock(name))).scalar() is not None
    return False


def name_of(database: Database, table: sa.Table, key: t.Any, worker: str | None) -> str:
    """What tells a run, as a worker has claimed it, from all others."""
    # MariaDB's are the server's.
    within = database.engine.url.database if database.mysql else ""
    # A column of a fixed length fills up what it holds.
    told = f"{within}/{table}/{str(key).rstrip()}/{(worker or '').rstrip()}"
    # MariaDB takes up to 64 characters.
    return hashlib.sha256(told.encode()).hexdigest()


def _number(name: str) -> int:
    """The same as PostgreSQL names its locks."""
    return int(name[:15], 16)
