"""The isolation level of a host's engine, as far as it decides what its transactions see."""

from __future__ import annotations

import sqlite3
import typing as t

import sqlalchemy as sa

#: Levels at which a transaction does not see what others commit while it waits. ``SNAPSHOT`` is
#: REPEATABLE READ on a MariaDB that refuses to write what others wrote since it began.
STRICT = ("REPEATABLE READ", "SNAPSHOT", "SERIALIZABLE")


def level_of(engine: sa.Engine) -> str:
    """``AUTOCOMMIT``, one of :data:`STRICT`, or another level by the database's name."""
    with engine.connect() as connection:
        return "AUTOCOMMIT" if _commits_itself(connection) else _isolation_of(connection)


def _isolation_of(connection: sa.Connection) -> str:
    level = str(connection.get_isolation_level())
    if connection.dialect.name != "mariadb" and connection.dialect.name != "mysql":
        return level
    cursor = connection.connection.cursor()
    cursor.execute("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")
    setting = cursor.fetchone()
    cursor.close()
    return "SNAPSHOT" if level == "REPEATABLE READ" and setting and setting[1] == "ON" else level


def _commits_itself(connection: sa.Connection) -> bool:
    asked = connection.engine.get_execution_options().get("isolation_level")
    set_at_connect = getattr(connection.dialect, "_on_connect_isolation_level", None)
    driver: t.Any = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        # Its own autocommit is how SQLAlchemy's recipe for SAVEPOINT begins by itself.
        found = False
    elif hasattr(driver, "get_autocommit"):
        found = driver.get_autocommit()
    else:
        found = getattr(driver, "autocommit", False) is True
    return "AUTOCOMMIT" in (asked, set_at_connect) or found
