"""Statements that are a transaction by themselves: to begin and to commit one takes longer.

Only where nobody can tell the difference.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from .database import Database
from .isolation import STRICT
from .session import is_heard


@contextmanager
def autocommit(database: Database) -> Iterator[sa.Connection | None]:
    """A connection for one statement, which commits it; ``None`` where a session is to do that.

    psycopg's alone: others ask the database to commit each statement, or undo what a hook of the
    host's has set on the connection before.
    """
    bind = database.session.get_bind(database.mapper)
    if isinstance(bind, sa.Connection) or not _serves(database, bind):
        yield None
        return
    with bind.connect() as connection:
        if _is_heard(connection) or _is_used(connection):
            yield connection
            connection.commit()
        else:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")


def _serves(database: Database, engine: sa.Engine) -> bool:
    """Whether a connection of an engine does what a session would do."""
    if engine.driver != "psycopg" or is_heard(database.session):
        return False
    return not database.shares_a_connection and database.level not in STRICT


def _is_heard(connection: sa.Connection) -> bool:
    """Whether the host listens for what does not happen without a transaction."""
    told = connection.dispatch
    return bool(told.begin or told.commit or told.set_connection_execution_options)


def _is_used(connection: sa.Connection) -> bool:
    """Whether a hook of the host's has begun a transaction, in which its settings may be."""
    driver = t.cast(t.Any, connection.connection.dbapi_connection)
    # Zero is psycopg.pq.TransactionStatus.IDLE.
    return connection.in_transaction() or driver.info.transaction_status != 0
