"""Every refusal, with its HTTP status and its JSON.

Each refusal is a :class:`~werkzeug.exceptions.HTTPException`. So one handler on the
blueprint answers both these refusals and any ``abort()`` in your functions.
"""

from __future__ import annotations

import typing as t

from flask import current_app
from flask import jsonify
from sqlalchemy import exc
from sqlalchemy.orm.exc import StaleDataError
from werkzeug import exceptions as http
from werkzeug.wrappers import Response

from .rules.lifecycle import SHOWN
from .rules.lifecycle import STATUSES

#: The error messages of a request, by key.
Errors = dict[str, t.Any]


#: Reasons that a message has beside ``errors``, which has all.
MOST_REASONS = 10


def text(sent: str) -> str:
    """Make a caller's text safe for a message: escape invalid Unicode, and shorten it."""
    return sent.encode("utf-8", "backslashreplace").decode()[:200]


def flat(wrong: t.Any) -> list[str]:
    """The messages under a key, those of its own keys with their names."""
    if isinstance(wrong, t.Mapping):
        return [f"{key}: {' '.join(flat(found))}" for key, found in wrong.items()]
    return [str(one) for one in wrong] if isinstance(wrong, (list, tuple)) else [str(wrong)]


class Malformed(http.BadRequest):
    """The body is not JSON, or not an object with a ``backfill`` in it."""


class Forbidden(http.Forbidden):
    description = "You are not allowed to do this to the backfills of this pipeline."


class NotFound(http.NotFound):
    description = "There is no such backfill in this pipeline."


class RunNotFound(http.NotFound):
    description = "There is no such run in this backfill."


class Refused(http.UnprocessableEntity):
    """Some values can't be stored. ``errors`` gives the reasons by key."""

    type = "validation_error"
    description = "Some keys or values are not valid. Nothing was changed."

    def __init__(self, errors: Errors) -> None:
        super().__init__()
        self.errors = errors


class QueryRefused(Refused):
    """Query parameters are not valid; ``errors`` gives the reasons by name."""

    description = "One of the query parameters is not valid."


class TransitionRefused(http.Conflict):
    """The new status is not allowed after the stored one."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errors: Errors = {"status": [message]}


class NotWanted(http.Conflict):
    description = "The backfill no longer needs this run. It is kept as history."


class NothingToRun(http.Conflict):
    """A start is refused because no run would be executed."""

    def __init__(self, statuses: t.Mapping[str, int]) -> None:
        counts = [(SHOWN[word], statuses[word]) for word in STATUSES if statuses.get(word)]
        if len(counts) == 1:
            [(word, count)] = counts
            one, many = ("has", "have") if word == "failed" else ("is", "are")
            told = (
                f"All {count:,} runs {many} {word}" if count > 1 else f"The only run {one} {word}"
            )
        else:
            told = "No run would start: " + ", ".join(f"{count:,} {word}" for word, count in counts)
        them = "it" if sum(statuses.values()) == 1 else "them"
        super().__init__(f'{told}. To run {them} again, start with settings.reprocess = "all".')
        self.errors: Errors = {"status": [self.description]}


class RunsRefused(http.Conflict):
    """The request would change the interval of runs that are running."""

    def __init__(self, keys: list[str]) -> None:
        more = f" and {len(keys) - 10:,} more" if len(keys) > 10 else ""
        super().__init__(
            "The interval of running runs can't change. Wait until they end, or cancel the"
            f" backfill. Running: {', '.join(keys[:10])}{more}."
        )


class StillActive(http.Conflict):
    description = "The backfill has waiting or running runs. Cancel it first, then delete it."


class ConstraintViolated(http.Conflict):
    description = "A database constraint does not allow this. Nothing was changed."


class ChangedMeanwhile(http.Conflict):
    description = "Another request changed the backfill. Read it again, then retry."


class ETagMismatch(http.PreconditionFailed):
    description = "The backfill has changed since you read it (If-Match). Nothing was changed."


class PlanMismatch(http.PreconditionFailed):
    """The plan is not the one that ``If-Plan-Match`` names. ``metadata`` has the new plan."""

    description = "The plan has changed since you saw it (If-Plan-Match). Nothing was changed."

    def __init__(self, metadata: dict[str, t.Any]) -> None:
        super().__init__()
        self.metadata = metadata


class ValueRefusedByDatabase(http.UnprocessableEntity):
    """The database refuses a value that the schema has accepted."""

    type = "validation_error"
    description = "The database can't store one of these values. Nothing was changed."


class DatabaseUnavailable(http.ServiceUnavailable):
    description = "The database is locked or can't be reached. Nothing was changed. Try again."

    def __init__(self) -> None:
        super().__init__(retry_after=1)


#: The refusal for each kind of database error.
DATABASE_REFUSALS: dict[type[Exception], type[http.HTTPException]] = {
    exc.IntegrityError: ConstraintViolated,
    exc.DataError: ValueRefusedByDatabase,
    exc.OperationalError: DatabaseUnavailable,
    exc.InterfaceError: DatabaseUnavailable,
    exc.TimeoutError: DatabaseUnavailable,
    StaleDataError: ChangedMeanwhile,
}

#: Codes that MySQL's and MariaDB's drivers file under OperationalError, beside those of a
#: database that is locked or away.
MYSQL_REFUSALS: dict[t.Any, type[http.HTTPException]] = {
    1292: ValueRefusedByDatabase,  # a datetime out of range
    1366: ValueRefusedByDatabase,  # a character that the column's set lacks
    3819: ConstraintViolated,  # a CHECK, in MySQL's words
    4025: ConstraintViolated,  # and in MariaDB's
}


#: What a statement meets when the database was restarted, or is in somebody's way. PostgreSQL's
#: drivers file the first under InternalError.
_PASSING_STATES = ("25P03", "40001", "40P01", "55P03")

#: What SQLite's and MySQL's drivers file under OperationalError, and what does not pass.
_MISSING = ("no such table", "no such column", "has no column")
_MISSING_CODES = (1054, 1146)


def passes(error: BaseException) -> bool:
    """Whether something that the database has interrupted may succeed when it is done again."""
    if not isinstance(error, exc.SQLAlchemyError):
        return False
    driver = getattr(error, "orig", None)
    if getattr(driver, "sqlstate", None) in _PASSING_STATES:
        return True
    if getattr(error, "connection_invalidated", False) or isinstance(error, exc.TimeoutError):
        return True
    code = next(iter(getattr(driver, "args", ())), None)
    if code in MYSQL_REFUSALS or is_missing(error):
        return False
    return isinstance(error, (exc.OperationalError, exc.InterfaceError))


def is_missing(error: BaseException) -> bool:
    """Whether a table or a column is missing."""
    driver = getattr(error, "orig", None)
    if getattr(driver, "sqlstate", None) in ("42P01", "42703"):
        return True
    code = next(iter(getattr(driver, "args", ())), None)
    return code in _MISSING_CODES or any(words in str(driver) for words in _MISSING)


#: What interrupts a transaction that is under way: restarts, deadlocks, lock timeouts.
_INTERRUPTIONS = (*_PASSING_STATES, "57P01", 1020, 1205, 1213, 2006, 2013)


def interrupts(error: BaseException) -> bool:
    """Whether the database has undone work that may succeed when it is done again."""
    if not isinstance(error, exc.DBAPIError):
        return False
    code = next(iter(getattr(error.orig, "args", ())), None)
    known = getattr(error.orig, "sqlstate", None) in _INTERRUPTIONS or code in _INTERRUPTIONS
    return known or error.connection_invalidated


def envelope(error: http.HTTPException) -> dict[str, t.Any]:
    """The JSON body of a refusal."""
    told: dict[str, t.Any] = {
        "error": {
            "code": error.code,
            "type": getattr(error, "type", error.name.lower().replace(" ", "_")),
            "message": _message(error),
            "errors": getattr(error, "errors", {}),
        }
    }
    if hasattr(error, "metadata"):
        told["metadata"] = error.metadata
    return told


def _message(error: http.HTTPException) -> str | None:
    """The description and the reasons, for clients that show nothing else."""
    wrong = {key: flat(found) for key, found in getattr(error, "errors", {}).items()}
    reasons = [
        f"{key}: {' '.join(found)}" for key, found in wrong.items() if found != [error.description]
    ]
    more = [f"And {len(reasons) - MOST_REASONS} more."] if len(reasons) > MOST_REASONS else []
    return " ".join(filter(None, [error.description, *reasons[:MOST_REASONS], *more])) or None


def words(error: BaseException) -> str:
    """The text of an error. For a database error, only the text of the driver.

    SQLAlchemy's own text contains the statement and its values.
    """
    if isinstance(error, exc.SQLAlchemyError):
        return str(getattr(error, "orig", None) or type(error).__name__)
    return str(error) or type(error).__name__


def refusal(error: Exception) -> http.HTTPException:
    """The refusal for an error. A database error gets the refusal that stands for it.

    The text of a database error goes only to the log.
    """
    if isinstance(error, http.HTTPException):
        return error
    stands = next(refused for kind, refused in DATABASE_REFUSALS.items() if isinstance(error, kind))
    code = next(iter(getattr(getattr(error, "orig", None), "args", ())), None)
    if isinstance(code, int):
        stands = MYSQL_REFUSALS.get(code, stands)
    current_app.logger.warning("%s: %s", stands.__name__, words(error))
    return stands()


def answer(error: Exception) -> Response | http.HTTPException:
    """The JSON response of a refusal, with its headers.

    A redirect, or a response that your own function aborted with, is returned unchanged.
    """
    refused = refusal(error)
    if refused.response is not None or refused.code is None or refused.code < 400:
        return refused
    response = refused.get_response()
    assert isinstance(response, Response)
    response.data = jsonify(envelope(refused)).data
    response.content_type = "application/json"
    return response


def register(scaffold: t.Any) -> None:
    """Register the error handlers on one blueprint, never on the app.

    They are registered for each code and for the base class. Flask prefers the app's handler
    for a code to a blueprint's handler for a base class.
    """
    for code in http.default_exceptions:
        scaffold.register_error_handler(code, answer)
    scaffold.register_error_handler(http.HTTPException, answer)
    for kind in DATABASE_REFUSALS:
        scaffold.register_error_handler(kind, answer)
