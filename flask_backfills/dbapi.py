"""What an error of the database's driver means: whether it passes, and what a log may tell of it.

Which refusal a caller gets for it stands in :mod:`.errors`.
"""

from __future__ import annotations

import sqlite3
import sys
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc

E = t.TypeVar("E", bound=BaseException)

#: What a statement meets when the database was restarted, became a replica that others may only
#: read, or is in somebody's way. PostgreSQL's drivers file the first two under InternalError.
_PASSING_STATES = ("25006", "25P03", "40001", "40P01", "55P03")

#: The classes of states that PostgreSQL has for what is wrong beside triggers. These may use others:
#: of PL/pgSQL, of routines, or of the host's own, which each driver files under another kind.
_SERVERS_CLASSES = "01 02 03 08 0A 0B 0F 0L 0P 0Z 21 22 23 24 25 26 28 2B 2D 34 3B 3D 3F".split()
_SERVERS_CLASSES += "40 42 44 53 54 55 57 58 72 F0 HV XX".split()

#: What interrupts a transaction that is under way: restarts, deadlocks, lock timeouts.
_INTERRUPTIONS = (*_PASSING_STATES, "57P01", 1020, 1205, 1213, 2006, 2013)

#: What SQLite says of constraints, where Python does not tell them from triggers.
_SQLITES_OWN = tuple(
    f"{one} constraint failed" for one in ("CHECK", "FOREIGN KEY", "NOT NULL", "UNIQUE")
)

#: What SQLite says of a lock that somebody else has.
_LOCKED = ("database is locked", "database table is locked")

#: What an error knows that the engine of the blueprint has raised, and no other of the host's.
_OURS = "_flask_backfills_ours"

#: What SQLite's and MySQL's drivers file under OperationalError, and what does not pass.
_MISSING = ("no such table", "no such column", "has no column")
_MISSING_CODES = (1054, 1146)
_MISSING_STATES = ("42P01", "42703")

#: Codes of MySQL and MariaDB whose texts name columns and constraints, and no values.
_NAMES_ONLY = (1048, 1364, 1451, 1452, 3819, 4025)

#: What a trigger of MySQL or MariaDB signals: the class of its state, and its code by default.
_MYSQL_SIGNALS = "45"
_SIGNAL = 1644

#: What does not pass although MySQL's and MariaDB's drivers file it under OperationalError: a
#: name that a column's set of characters can't be compared with, a datetime out of range or a
#: character that the set lacks, a CHECK in the words of either, what a trigger signals.
MYSQL_NAMES = (1267,)
MYSQL_VALUES = (1292, 1366)
MYSQL_CHECKS = (_SIGNAL, 3819, 4025)


def mark(engine: sa.Engine) -> None:
    """Let every error of an engine be told from those of the host's other databases."""
    sa.event.listen(engine, "handle_error", _mark)


def _mark(context: sa.ExceptionContext) -> None:
    if context.sqlalchemy_exception is not None:
        ours(context.sqlalchemy_exception)


def ours(error: E) -> E:
    """Mark an error of our own as one of the engine of a blueprint."""
    setattr(error, _OURS, True)
    return error


def is_ours(error: BaseException) -> bool:
    """Whether an error is of the engine of a blueprint, as far as it is a database's."""
    return not isinstance(error, exc.DBAPIError) or hasattr(error, _OURS)


def code_of(error: BaseException) -> t.Any:
    """The number that MySQL's and MariaDB's drivers give; ``None`` for other drivers."""
    code = next(iter(getattr(getattr(error, "orig", None), "args", ())), None)
    return code if isinstance(code, int) else None


def passes(error: BaseException) -> bool:
    """Whether something that the database has interrupted may succeed when it is done again."""
    if not isinstance(error, exc.SQLAlchemyError):
        return False
    if _state_of(error) in _PASSING_STATES:
        return True
    if getattr(error, "connection_invalidated", False) or isinstance(error, exc.TimeoutError):
        return True
    if code_of(error) in (*MYSQL_NAMES, *MYSQL_VALUES, *MYSQL_CHECKS) or is_missing(error):
        return False
    if is_a_triggers(error):
        return False
    return isinstance(error, (exc.OperationalError, exc.InterfaceError))


def is_a_triggers(error: BaseException) -> bool:
    """Whether the database passes on an error with a state that only a trigger gives."""
    state = _state_of(error)
    if state is None or not isinstance(error, exc.DBAPIError):
        return False
    if code_of(error) is not None:
        return str(state).startswith(_MYSQL_SIGNALS)
    return state[:2] not in _SERVERS_CLASSES


def interrupts(error: BaseException) -> bool:
    """Whether our database has undone work that may succeed when it is done again."""
    if not isinstance(error, exc.DBAPIError) or not is_ours(error):
        return False
    if is_locked(error.orig) or _is_away(error):
        return True
    known = _state_of(error) in _INTERRUPTIONS or code_of(error) in _INTERRUPTIONS
    return known or error.connection_invalidated


def is_locked(driver: BaseException | None) -> bool:
    """Whether an error of SQLite's driver says that somebody else has a lock."""
    return str(driver).startswith(_LOCKED)


def _is_away(error: exc.DBAPIError) -> bool:
    """Whether the database can't be reached at all: there was no statement yet, nor a COMMIT."""
    return error.statement is None and passes(error)


def is_missing(error: BaseException) -> bool:
    """Whether a table or a column is missing."""
    if not isinstance(error, exc.DBAPIError):
        return False
    if _state_of(error) in _MISSING_STATES or code_of(error) in _MISSING_CODES:
        return True
    return any(words in str(error.orig) for words in _MISSING)


def missing(error: BaseException) -> str:
    """What to do about a table or a column that is missing, and which."""
    return f"A table or column is missing: run your migrations. {told(error)}"


def words(error: BaseException) -> str:
    """The text of an error. For a database error, only the text of the driver.

    SQLAlchemy's own text contains the statement and its values.
    """
    if isinstance(error, exc.StatementError):
        return str(error.orig or type(error).__name__)
    return str(error) or type(error).__name__


def told(error: BaseException) -> str:
    """What a log may tell of an error: no value that a caller has sent.

    The drivers' own texts quote the values that a constraint or a column refuses.
    """
    first = next(iter(words(error).splitlines()), "")
    driver = getattr(error, "orig", None)
    refuses = isinstance(error, (exc.IntegrityError, exc.DataError))
    code = code_of(error)
    if is_a_triggers(error) or code == _SIGNAL or _is_raised(driver):
        # Its text is the host's, and may have the values that it refuses.
        return " ".join(["A trigger has refused it:", type(driver).__name__, *_codes(error)])
    if code in _NAMES_ONLY or type(driver).__module__ == "sqlite3":
        return first
    if code is not None and (refuses or code in MYSQL_VALUES):
        # What is last is the server's, whatever the value is.
        of = " for key " if code == 1062 else " for column "
        return f"{code}{''.join(first.rpartition(of)[1:]) if of in first else ''}"
    if refuses:
        diag = getattr(driver, "diag", None)
        parts = ("table_name", "column_name", "constraint_name")
        named = filter(None, (getattr(diag, part, None) for part in parts))
        return " ".join([type(driver).__name__, *named])
    return first


def hidden(error: E) -> E:
    """An error whose traceback, in the app's log, has no value that a caller has sent."""
    if isinstance(error, exc.StatementError):
        error.hide_parameters = True
    return error


def _is_raised(driver: BaseException | None) -> bool:
    """Whether an error is what a trigger of SQLite or PostgreSQL has raised, whatever its state."""
    if isinstance(driver, sqlite3.IntegrityError):
        if sys.version_info >= (3, 11):
            return driver.sqlite_errorname == "SQLITE_CONSTRAINT_TRIGGER"
        return not str(driver).startswith(_SQLITES_OWN)
    # Where PL/pgSQL does what it is told.
    return getattr(getattr(driver, "diag", None), "source_file", None) == "pl_exec.c"


def _codes(error: BaseException) -> list[str]:
    return [str(one) for one in (code_of(error), _state_of(error)) if one is not None]


def _state_of(error: BaseException) -> t.Any:
    """The code of five characters that PostgreSQL gives, and newer drivers of MySQL too."""
    driver = getattr(error, "orig", None)
    return getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None)
