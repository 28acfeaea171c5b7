"""Statements that are a transaction by themselves: to begin and to commit one takes longer.

Only where nobody can tell the difference.
"""

from __future__ import annotations

import sqlalchemy as sa

from .database import Database
from .isolation import STRICT
from .session import is_heard


def autocommit(database: Database) -> sa.Connection | None:
    """A connection that commits each statement; ``None`` where that is not the same, or costs more.

    Other drivers than PostgreSQL's ask the database to commit so, and to end that.
    """
    session = database.session
    bind = session.get_bind(database.mapper)
    if bind.dialect.name != "postgresql" or not isinstance(bind, sa.Engine) or is_heard(session):
        return None
    if bind.dispatch.begin or bind.dispatch.commit or database.level in STRICT:
        return None
    return bind.connect().execution_options(isolation_level="AUTOCOMMIT")
