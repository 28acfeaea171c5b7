"""Every refusal, its HTTP status and its JSON.

Each is a :class:`~werkzeug.exceptions.HTTPException`, so that one handler on the
blueprint answers our own refusals and any ``abort()`` of the host's functions.
"""

from __future__ import annotations

import typing as t

from flask import current_app
from flask import jsonify
from sqlalchemy import exc
from sqlalchemy.orm.exc import StaleDataError
from werkzeug import exceptions as http
from werkzeug.wrappers import Response

#: What is wrong with each key of a request.
Errors = dict[str, t.Any]


def text(sent: str) -> str:
    """A caller's own words, fit for a message: escaped where they aren't Unicode, cut short."""
    return sent.encode("utf-8", "backslashreplace").decode()[:200]


class Malformed(http.BadRequest):
    """The body is not JSON, or not an object with a ``backfill`` in it."""


class Forbidden(http.Forbidden):
    description = "You are not allowed to do this to the backfills of this pipeline."


class NotFound(http.NotFound):
    description = "There is no such backfill in this pipeline."


class Refused(http.UnprocessableEntity):
    """Values that can't be stored; ``errors`` says which and why."""

    type = "validation_error"
    description = "Some of what was sent can't be stored; nothing was changed."

    def __init__(self, errors: Errors) -> None:
        super().__init__()
        self.errors = errors


class TransitionRefused(http.Conflict):
    """A status that can't follow the stored one."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errors: Errors = {"status": [message]}


class NothingToRun(http.Conflict):
    """A start that would run nothing, and so would not be what was asked for."""

    def __init__(self, statuses: t.Mapping[str, int], reprocess: str) -> None:
        ended = ", ".join(f"{count:,} {word}" for word, count in statuses.items() if count)
        super().__init__(
            f"Nothing would run: of its runs there are {ended}, and settings.reprocess is"
            f" {reprocess}; with all, every one runs again."
        )
        self.errors: Errors = {"status": [self.description]}


class RunsRefused(http.Conflict):
    """Runs that are running, of which the request would make others."""

    def __init__(self, keys: list[str]) -> None:
        more = f" and {len(keys) - 10:,} more" if len(keys) > 10 else ""
        super().__init__(
            "Runs that are running can't change their interval; cancel the backfill or let"
            f" them end: {', '.join(keys[:10])}{more}."
        )


class StillActive(http.Conflict):
    description = "The backfill has runs that have not ended: cancel it before deleting it."


class ConstraintViolated(http.Conflict):
    description = "A constraint of the database does not allow this; nothing was changed."


class ChangedMeanwhile(http.Conflict):
    description = "The backfill was changed by somebody else meanwhile; read it and try again."


class ETagMismatch(http.PreconditionFailed):
    description = "The backfill is no longer the one that If-Match names; nothing was changed."


class PlanMismatch(http.PreconditionFailed):
    """Something else would happen than what ``If-Plan-Match`` names; ``metadata`` says what."""

    description = "What would happen is no longer what If-Plan-Match names; nothing was changed."

    def __init__(self, metadata: dict[str, t.Any]) -> None:
        super().__init__()
        self.metadata = metadata


class ValueRefusedByDatabase(http.UnprocessableEntity):
    """The last net below the schema: a limit that only the database knows."""

    type = "validation_error"
    description = "The database can't hold one of these values; nothing was changed."


class DatabaseUnavailable(http.ServiceUnavailable):
    description = "The database is locked or away; nothing was changed. Try again."

    def __init__(self) -> None:
        super().__init__(retry_after=1)


#: What the database says, and what the caller is told.
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


def envelope(error: http.HTTPException) -> dict[str, t.Any]:
    """A refusal as it is on the wire."""
    told: dict[str, t.Any] = {
        "error": {
            "code": error.code,
            "type": getattr(error, "type", error.name.lower().replace(" ", "_")),
            "message": error.description,
            "errors": getattr(error, "errors", {}),
        }
    }
    if hasattr(error, "metadata"):
        told["metadata"] = error.metadata
    return told


def words(error: Exception) -> str:
    """The words of an error; of a database's, only its driver's.

    SQLAlchemy's own have the statement and its values in them.
    """
    if isinstance(error, exc.SQLAlchemyError):
        return str(getattr(error, "orig", None) or type(error).__name__)
    return str(error) or type(error).__name__


def refusal(error: Exception) -> http.HTTPException:
    """The refusal that an error is or, of a database, stands for.

    The database's own words stay in the log.
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
    """The JSON of a refusal, with the headers that belong to it.

    A redirect, or a response that the host's own function aborted with, is the
    host's and passes as it is.
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
    """Answer for one blueprint, and for nothing else of the host's app.

    By each code as well as by the base class: Flask asks the app's handler of a code
    before a blueprint's handler of a base class.
    """
    for code in http.default_exceptions:
        scaffold.register_error_handler(code, answer)
    scaffold.register_error_handler(http.HTTPException, answer)
    for kind in DATABASE_REFUSALS:
        scaffold.register_error_handler(kind, answer)
