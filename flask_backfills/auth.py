"""Functions to pass as ``authorize``. They decide who may call.

The blueprint calls ``authorize(action, pipeline_uuid)`` before it reads the body of a
request. The action is ``list``, ``create``, ``detail``, ``update`` or ``delete``. Only the
value ``True`` lets the request in; any other value answers 403. The function may also call
``abort(401)``. If the path of a backfill has no pipeline, the function gets the pipeline of
the stored row, or ``""`` if there is no such row.
"""

from __future__ import annotations

import hmac
import inspect
import typing as t
from collections.abc import Callable
from collections.abc import Collection

from flask import current_app
from flask import request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import Unauthorized

from . import errors
from .parsing import parse
from .parsing import read_bytes

#: ``(action, pipeline_uuid) -> bool``
Authorize = Callable[[str, str], t.Any]


#: What Mage's callers name their credentials, in the query and beside ``backfill`` in a body.
CREDENTIALS = {"api_key", "oauth_token"}


def _in_header() -> str:
    sent = request.headers.get("X-API-KEY", "")
    try:
        # WSGI reads every header as Latin-1, and most callers send UTF-8.
        return sent.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return sent


def _in_body() -> str | None:
    """The ``api_key`` beside ``backfill``; a body of unknown length isn't read for it."""
    if request.mimetype != "application/json" or not request.content_length:
        return None
    try:
        sent = parse(read_bytes(request))
    except HTTPException:
        return None
    return sent.get("api_key") if isinstance(sent, dict) else None


#: Where an API key may be, by the name that ``sources`` has for it.
SOURCES: dict[str, Callable[[], t.Any]] = {
    "header": _in_header,
    "query": lambda: request.args.get("api_key"),
    "body": _in_body,
}


def api_key(
    config_key: str = "BACKFILLS_API_KEYS", /, *, sources: Collection[str] = ("header",)
) -> Authorize:
    """Let in callers that send one of the app's keys in the ``X-API-KEY`` header.

    :param config_key: the name in ``app.config`` of the keys: a string, or a list of
        strings. Without a key, every request is refused. Keys are compared in constant
        time.
    :param sources: where to look for a key, in this order: ``header``, ``query`` (the
        parameter ``api_key``) and ``body`` (``api_key`` beside ``backfill``). Mage's own web
        interface sends its key in the query and the body. A key in a URL ends up in access
        logs and histories, so it is looked for in the header alone unless you say otherwise.
    :raises ValueError: for other sources.
    :raises TypeError: for keys instead of their name in ``app.config``.
    """
    if not isinstance(config_key, str):
        # What it is may be the keys themselves, which no log should have.
        raise TypeError(
            "api_key() takes the name that the keys have in app.config: put the keys there, such"
            ' as app.config["BACKFILLS_API_KEYS"] = [...]'
        )
    unknown = sorted(set(sources) - SOURCES.keys())
    if unknown or not sources or isinstance(sources, str):
        raise ValueError(f"sources must be some of {', '.join(SOURCES)}, not {sources!r}")

    def authorize(action: str, pipeline_uuid: str) -> bool:
        configured = current_app.config.get(config_key) or ()
        if isinstance(configured, str):
            configured = (configured,)
        # Not str(key): a None from an unset environment variable is no key.
        keys = [key.encode() for key in configured if isinstance(key, str) and key]
        if not keys:
            current_app.logger.warning(
                "Every request is refused: set %s in the app's config to a list of strings.",
                config_key,
            )
        found = next(filter(None, (SOURCES[source]() for source in sources)), "")
        sent = str(found).encode("utf-8", "replace")
        # A list, so that every key is compared whichever matches.
        if not any([hmac.compare_digest(sent, key) for key in keys]):
            raise Unauthorized(
                "The X-API-KEY header is missing, or its key is not valid.",
                www_authenticate=WWWAuthenticate("ApiKey"),
            )
        return True

    return _needs_a_program(authorize)


def oauth_token(verify: Callable[[str, str, str], t.Any]) -> Authorize:
    """Let in callers that send a token which your function accepts.

    :param verify: called as ``verify(token, action, pipeline_uuid)``. The token comes from
        the ``oauth_token`` cookie. Without one, it comes from the ``OAUTH-TOKEN`` header, or
        from ``Authorization: Bearer``. Mage's own web interface sends a cookie and a Bearer
        token, which differ. Only ``True`` lets the request in.
    :raises TypeError: for what is no such function, and for a coroutine function.
    """
    what = "the function of oauth_token()"
    require_function(verify, what, "token", "action", "pipeline_uuid")

    def authorize(action: str, pipeline_uuid: str) -> t.Any:
        token = request.cookies.get("oauth_token") or request.headers.get("OAUTH-TOKEN")
        if not token and request.authorization and request.authorization.type == "bearer":
            token = request.authorization.token
        if not token:
            raise Unauthorized(
                "Send a token in the oauth_token cookie, in the OAUTH-TOKEN header, or as"
                " Authorization: Bearer.",
                www_authenticate=WWWAuthenticate("Bearer"),
            )
        return verify(token, action, pipeline_uuid)

    return authorize


def all_of(*checks: Authorize) -> Authorize:
    """Let in only callers that pass every check. The first check that refuses is the answer.

    :raises TypeError: without a check, or for a coroutine function.
    """
    if not checks:
        raise TypeError("all_of() needs at least one check: with none, it would let everyone in")
    _require_plain_checks("all_of", checks)

    def authorize(action: str, pipeline_uuid: str) -> bool:
        return all(check(action, pipeline_uuid) is True for check in checks)

    return _needs_a_program(authorize) if any(map(needs_a_program, checks)) else authorize


def any_of(*checks: Authorize) -> Authorize:
    """Let in callers that pass one of the checks, such as an API key or a login.

    The checks are asked in their order, and the first that returns ``True`` lets the request in.
    If all refuse, one of the refusals is the answer:

    1. the first that is not about who is calling: a value other than ``True``, which is a 403, or
       another error that a check aborted with. So let a check return ``False`` to callers that
       it knows, and ``abort(401)`` for those that it does not know.
    2. a redirect, such as to a login page, if the caller asks for HTML as browsers do
    3. a 401 with a ``WWW-Authenticate`` header, which says what to send
    4. any other 401
    5. a redirect for callers that ask for something else: they may follow it, and take the login
       page for a success

    :raises TypeError: without a check, or for a coroutine function.
    """
    if not checks:
        raise TypeError("any_of() needs at least one check: with none, it would let no one in")
    _require_plain_checks("any_of", checks)

    def authorize(action: str, pipeline_uuid: str) -> bool:
        refusals: list[HTTPException] = []
        for check in checks:
            try:
                if check(action, pipeline_uuid) is True:
                    return True
            except HTTPException as refused:
                refusals.append(refused)
            else:
                refusals.append(errors.Forbidden())
        raise min(refusals, key=_rank)

    return _needs_a_program(authorize) if all(map(needs_a_program, checks)) else authorize


def _rank(refused: HTTPException) -> int:
    """The place of a refusal in the list of :func:`any_of`."""
    response = refused.get_response()
    if 300 <= response.status_code < 400:
        accepted = request.accept_mimetypes
        asks_for_html = accepted.best_match(["application/json", "text/html"]) == "text/html"
        return 2 if asks_for_html else 5
    if response.status_code != 401:
        return 1
    return 3 if "WWW-Authenticate" in response.headers else 4


def allow_anyone(action: str, pipeline_uuid: str) -> bool:
    """Let everyone in. Use it only for a development server on your own machine."""
    return True


def needs_a_program(authorize: Authorize) -> bool:
    """Whether a check lets in only callers that send a header of their own, as no browser does."""
    return getattr(authorize, "needs_a_program", False)


def _needs_a_program(authorize: Authorize) -> Authorize:
    vars(authorize)["needs_a_program"] = True
    return authorize


def _require_plain_checks(name: str, checks: Collection[Authorize]) -> None:
    for check in checks:
        if not callable(check):
            raise TypeError(f"the checks of {name}() must be functions, such as api_key()")
        require_function(check, f"a check of {name}()", "action", "pipeline_uuid")


def require_function(function: Callable[..., t.Any], what: str, *named: str) -> None:
    """Refuse what can't be called as it will be, or would have to be awaited.

    :raises TypeError: naming what it is called with.
    """
    if not callable(function):
        raise TypeError(
            f"{what} must be a function, which is called with ({', '.join(named)}), not a value of"
            f" type {type(function).__name__}"
        )
    require_plain(function, what)
    require_arguments(function, what, *named)


def require_arguments(function: Callable[..., t.Any], what: str, *named: str) -> None:
    """Refuse a function that can't be called as it will be.

    :raises TypeError: naming what it is called with.
    """
    try:
        inspect.signature(function).bind(*named)
    except ValueError:
        # One of C's, which does not tell.
        return
    except TypeError:
        raise TypeError(
            f"{what} is called with ({', '.join(named)}), which {function!r} does not take"
        ) from None


def require_plain(function: Callable[..., t.Any], what: str) -> None:
    """Refuse a function that would have to be awaited.

    :raises TypeError: if calling it only makes a coroutine.
    """
    for one in (function, type(function).__call__):
        if inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one):
            raise TypeError(
                f"{what} must not be async: make it a plain function, and call what is async with"
                " asyncio.run() in it"
            )
