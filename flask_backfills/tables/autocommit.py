"""Statements that are a transaction by themselves: to begin and to commit one takes longer.

Only where nobody can tell the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from .database import Database
from .isolation import STRICT
from .session import is_heard


@contextmanager
def autocommit(database: Database) -> Iterator[sa.Connection | None]:
    """A connection that commits each statement; ``None`` where that is not the same, or costs more.

    psycopg's alone. Others ask the database to commit so, or undo what a hook of the host's has
    set on the connection before. psycopg refuses that: it raises.
    """
    session = database.session
    bind = session.get_bind(database.mapper)
    if not isinstance(bind, sa.Engine) or bind.driver != "psycopg" or is_heard(session):
        yield None
        return
    if database.shares_a_connection or database.level in STRICT:
        yield None
        return
    with bind.connect() as connection:
        if _is_heard(connection):
            yield None
        else:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")


def _is_heard(connection: sa.Connection) -> bool:
    """Whether the host listens for what does not happen then."""
    told = connection.dispatch
    return bool(told.begin or told.commit or told.set_connection_execution_options)
