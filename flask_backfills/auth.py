"""Who may call: functions to pass as ``authorize``.

An ``authorize`` is called as ``authorize(action, pipeline_uuid)`` before anything is
read, with one of the actions ``list``, ``create``, ``detail``, ``update`` and ``delete``.
Only the value ``True`` lets the request in; anything else is a 403. It may ``abort(401)``
itself. A path without a pipeline asks for the pipeline of the row, or for ``""`` if there
is no such row.
"""

from __future__ import annotations

import hmac
import typing as t
from collections.abc import Callable

from flask import current_app
from flask import request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

#: ``(action, pipeline_uuid) -> bool``
Authorize = Callable[[str, str], t.Any]


def api_key(config_key: str = "BACKFILLS_API_KEYS", /) -> Authorize:
    """Let in whoever sends one of the app's keys as ``X-API-KEY``.

    :param config_key: where in ``app.config`` the keys are: a string, or a list of
        strings. Without any, nobody is let in. Keys are compared in constant time.
    """

    def authorize(action: str, pipeline_uuid: str) -> bool:
        configured = current_app.config.get(config_key) or ()
        if isinstance(configured, str):
            configured = (configured,)
        # Not str(key): a None from an unset environment variable is no key.
        keys = [key.encode() for key in configured if isinstance(key, str) and key]
        if not keys:
            current_app.logger.warning(
                "Nobody is let in: set %s to a list of strings in the app's config.", config_key
            )
        sent = request.headers.get("X-API-KEY", "").encode()
        # A list, so that every key is compared whichever matches.
        if not any([hmac.compare_digest(sent, key) for key in keys]):
            raise Unauthorized(
                "The X-API-KEY header is missing or not one of the keys.",
                www_authenticate=WWWAuthenticate("ApiKey"),
            )
        return True

    return authorize


def oauth_token(verify: Callable[[str, str, str], t.Any]) -> Authorize:
    """Let in whoever sends a token that the host's own function accepts.

    :param verify: called as ``verify(token, action, pipeline_uuid)`` with the token of
        the ``oauth_token`` cookie or, without one, of the ``OAUTH-TOKEN`` header. Only
        ``True`` lets the request in.
    """

    def authorize(action: str, pipeline_uuid: str) -> t.Any:
        token = request.cookies.get("oauth_token") or request.headers.get("OAUTH-TOKEN")
        if not token:
            raise Unauthorized(
                "The oauth_token cookie, or the OAUTH-TOKEN header, is missing.",
                www_authenticate=WWWAuthenticate("Bearer"),
            )
        return verify(token, action, pipeline_uuid)

    return authorize


def all_of(*checks: Authorize) -> Authorize:
    """Let in only whom every one of ``checks`` lets in; the first refusal is the answer."""
    if not checks:
        raise TypeError("all_of() needs at least one check: without any it would let anyone in")

    def authorize(action: str, pipeline_uuid: str) -> bool:
        return all(check(action, pipeline_uuid) is True for check in checks)

    return authorize


def allow_anyone(action: str, pipeline_uuid: str) -> bool:
    """Let anyone in: for a dev server on your own machine."""
    return True
