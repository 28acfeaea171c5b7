"""Reads the backfill from the body of a request."""

from __future__ import annotations

import typing as t

from flask import Request
from werkzeug.exceptions import UnsupportedMediaType

from .. import errors
from ..auth import CREDENTIALS
from ..parsing import parse
from ..parsing import read_bytes
from ..rules import names


def receive(request: Request) -> None:
    """Read the bytes of a body before anything else.

    A caller may take its time to send them, and no connection to the database is to be held
    meanwhile.

    :raises werkzeug.exceptions.RequestEntityTooLarge: as :func:`read`.
    """
    read_bytes(request)


def refuse_form(request: Request) -> None:
    """Refuse what a form of another site can send, to a route that needs no body.

    :raises werkzeug.exceptions.UnsupportedMediaType: as :func:`read`.
    """
    if request.mimetype not in ("", "application/json"):
        raise UnsupportedMediaType("The Content-Type must be application/json.")


def read(request: Request, name: str = "backfill") -> dict[str, t.Any]:
    """Return the object under ``backfill``, or another name, in the body of a request.

    :raises werkzeug.exceptions.UnsupportedMediaType: for another type than
        ``application/json``, so that a form of another site can't post here.
    :raises werkzeug.exceptions.RequestEntityTooLarge: for more bytes than
        ``BACKFILLS_MAX_CONTENT_LENGTH``.
    :raises flask_backfills.errors.Malformed: for anything but an object with a
        ``backfill`` object in it.
    :raises flask_backfills.errors.Refused: for keys beside ``backfill`` that are no credentials.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The Content-Type must be application/json.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed.")
    body = parse(read_bytes(request))
    if not isinstance(body, dict) or not isinstance(body.get(name), dict):
        raise errors.Malformed(f'The body must be an object: {{"{name}": {{...}}}}.')
    if unknown := sorted(body.keys() - {name, *CREDENTIALS}):
        told = names.unknown(unknown, [name])
        raise errors.Refused({errors.text(key): found for key, found in told.items()})
    return t.cast("dict[str, t.Any]", body[name])
