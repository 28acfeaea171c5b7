"""Every refusal, with its HTTP status and its JSON.

Each refusal is a :class:`~werkzeug.exceptions.HTTPException`. So one handler on the
blueprint answers both these refusals and any ``abort()`` in your functions.
"""

from __future__ import annotations

import typing as t

from flask import current_app
from sqlalchemy import exc
from sqlalchemy.orm.exc import StaleDataError
from werkzeug import exceptions as http
from werkzeug.wrappers import Response

from . import dbapi
from .answering import json_response
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


class BeyondScope(http.Forbidden):
    """A new backfill would be one that its own creator can't see."""

    description = "You could not see this backfill yourself. Nothing was stored."


class NotFound(http.NotFound):
    description = "There is no such backfill in this pipeline."


class RunNotFound(http.NotFound):
    description = "There is no such run in this backfill."


class NoIntervals(http.NotFound):
    description = "The runs of this app have no intervals, so that nobody knows what they cover."


class UnknownPipeline(http.NotFound):
    """There is no such pipeline. ``near`` is the name that may have been meant."""

    def __init__(self, near: str | None) -> None:
        meant = f" Did you mean {text(near)}?" if near else ""
        super().__init__(f"There is no such pipeline.{meant}")
        self.near = near


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


class KeyRefused(Refused):
    """An ``Idempotency-Key`` can't be used."""

    description = "The Idempotency-Key can't be used. Nothing was changed."

    def __init__(self, reason: str) -> None:
        super().__init__({"Idempotency-Key": [reason]})


class TransitionRefused(http.Conflict):
    """What was asked for is not possible after the stored status."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.errors: Errors = {"status": [message]}


class NotWanted(http.Conflict):
    description = "The backfill no longer needs this run. It is kept as history."


class NotTheLastEdit(http.Conflict):
    description = "The backfill has been changed since, or has no edit that can be undone. Nothing was undone."


class NothingToRun(http.Conflict):
    """A start is refused because no run would be executed."""

    def __init__(self, statuses: t.Mapping[str, int], skipped: int = 0) -> None:
        counts = [(SHOWN[word], statuses[word]) for word in STATUSES if statuses.get(word)]
        listed = [f"{count:,} {word}" for word, count in counts]
        them = "it" if sum(statuses.values()) + skipped == 1 else "them"
        again = 'settings.reprocess = "all"'
        if skipped:
            listed.insert(0, f"{skipped:,} completed in other backfills")
            again = "settings.skip_covered = false" + (f" and {again}" if counts else "")
        elif len(counts) > 1:
            again, them = 'settings.reprocess = "failed"', "what is not completed"
        told = f"No run would start: {', '.join(listed)}"
        if len(counts) == 1 and not skipped:
            [(word, count)] = counts
            one, many = ("has", "have") if word == "failed" else ("is", "are")
            only, every = f"The only run {one} {word}", f"All {count:,} runs {many} {word}"
            told = every if count > 1 else only
        super().__init__(f"{told}. To run {them} again, start with {again}.")
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
    description = "It has runs that wait, or that a worker is at. Cancel it first, and delete it once no worker is at them."


class ConstraintViolated(http.Conflict):
    description = "A database constraint does not allow this. Nothing was changed."


class LeftEmpty(http.Conflict):
    description = "A new backfill lacks what only the app can fill. The app's log says more."


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


class NotSetUp(http.InternalServerError):
    description = "The app's database is not set up. Nothing was changed. The app's log says more."


#: The refusal for each kind of database error.
DATABASE_REFUSALS: dict[type[Exception], type[http.HTTPException]] = {
    exc.IntegrityError: ConstraintViolated,
    exc.DataError: ValueRefusedByDatabase,
    exc.OperationalError: DatabaseUnavailable,
    exc.InterfaceError: DatabaseUnavailable,
    exc.TimeoutError: DatabaseUnavailable,
    StaleDataError: ChangedMeanwhile,
}

#: What a handler is registered for. Where a table is missing, most drivers say ProgrammingError; a
#: replica that may only be read says InternalError; a trigger's own state may be of no kind.
DATABASE_ERRORS = (*DATABASE_REFUSALS, exc.DatabaseError)

#: The same for codes that MySQL's and MariaDB's drivers file under OperationalError.
MYSQL_REFUSALS: dict[int, type[http.HTTPException]] = {
    **dict.fromkeys(dbapi.MYSQL_NAMES, NotFound),
    **dict.fromkeys(dbapi.MYSQL_VALUES, ValueRefusedByDatabase),
    **dict.fromkeys(dbapi.MYSQL_CHECKS, ConstraintViolated),
}


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


def refusal(error: Exception) -> http.HTTPException:
    """The refusal for an error. A database error gets the refusal that stands for it.

    What is known of a database error goes only to the log. One that is nobody's fault but a
    programmer's is raised again.
    """
    if isinstance(error, http.HTTPException):
        return error
    if dbapi.is_missing(error):
        current_app.logger.error("%s", dbapi.missing(error))
        return NotSetUp()
    stands = _stands_for(error)
    if stands is None:
        raise dbapi.hidden(error)
    current_app.logger.warning("%s: %s", stands.__name__, dbapi.told(error))
    return stands()


def _stands_for(error: Exception) -> type[http.HTTPException] | None:
    if dbapi.is_a_triggers(error):
        return ConstraintViolated
    if dbapi.passes(error):
        return DatabaseUnavailable
    found = (refused for kind, refused in DATABASE_REFUSALS.items() if isinstance(error, kind))
    return MYSQL_REFUSALS.get(dbapi.code_of(error), next(found, None))


def answer(error: Exception) -> Response | http.HTTPException:
    """The JSON response of a refusal, with its headers.

    A redirect, or a response that your own function aborted with, is returned unchanged.
    """
    refused = refusal(error)
    if refused.response is not None or refused.code is None or refused.code < 400:
        return refused
    response = refused.get_response()
    assert isinstance(response, Response)
    response.data = json_response(**envelope(refused)).data
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
    for kind in DATABASE_ERRORS:
        scaffold.register_error_handler(kind, answer)
