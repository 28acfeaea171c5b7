"""SQLite's one write lock, which stands for the locks of rows that it lacks."""

from __future__ import annotations

import sqlite3
import typing as t
from collections.abc import Callable

import sqlalchemy as sa

from .. import dbapi


def begin_writing(connection: sa.Connection, table: sa.FromClause) -> None:
    """Take the write lock, be it in a transaction that the host has let begin without it.

    SQLite's driver begins only at the first write, after the read. A host may let each
    transaction begin by itself instead: with an event, or with ``autocommit=False``.

    :param table: any table.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        return
    always = getattr(driver, "autocommit", -1) is False
    if driver.in_transaction and driver.isolation_level is not None and not always:
        # It has begun by a write, which has the lock.
        return
    try:
        _lock(driver, lambda: _no_write(connection, table))
    except sqlite3.OperationalError as error:
        locked = sa.exc.OperationalError("BEGIN IMMEDIATE", None, error)
        raise dbapi.ours(locked) from error


def _no_write(connection: sa.Connection, table: sa.FromClause) -> str:
    """A statement that takes the lock, and writes no row."""
    names = connection.get_execution_options().get("schema_translate_map")
    # A host may give a schema another name.
    options = {"schema_translate_map": names, "render_schema_translate": True} if names else {}
    nothing = sa.delete(t.cast(sa.Table, table)).where(sa.text("0"))
    return str(nothing.compile(connection, **options))


def _lock(driver: sqlite3.Connection, no_write: Callable[[], str]) -> None:
    if driver.in_transaction:
        try:
            driver.execute(no_write())
            return
        except sqlite3.OperationalError as error:
            if not dbapi.is_locked(error):
                raise
        # Somebody else has written since this has read something. Who can't have the lock has
        # written nothing, so that nothing is lost.
        driver.rollback()
    driver.execute(no_write() if driver.in_transaction else "BEGIN IMMEDIATE")
