"""What the user of a page may do, as the host's ``authorize`` says, and where users log in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress

from flask import current_app
from flask import request
from flask.sansio.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from werkzeug import exceptions as http

from .. import errors
from ..auth import needs_a_program
from ..host import Host
from ..tables.lists import pipelines


def listable(host: Host) -> list[str]:
    """The pipelines whose backfills the user may list."""
    known = pipelines(host.table)
    found = [pipeline_uuid for pipeline_uuid in known if host.may("list", pipeline_uuid)]
    if not found:
        # Who is not logged in is told so, and not shown an empty page.
        with suppress(errors.Forbidden):
            host.allow("list", known[0] if known else "")
    return found


def warn_if_no_browser(host: Host, state: BlueprintSetupState) -> None:
    """Say so where ``authorize`` wants what no browser sends."""
    if needs_a_program(host.authorize):
        state.app.logger.warning(
            "No browser can open the console %r: api_key() wants a key that only programs send."
            " Pass authorize=any_of(api_key(), ...) with a check of your logins.",
            state.blueprint.name,
        )


def with_login(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """A view that sends users who are not logged in to the login page of the app's login manager.

    A handler that the app or the blueprint has for the status 401 answers instead of it.
    """

    @functools.wraps(view)
    def answer(*args: object, **parts: object) -> ResponseReturnValue:
        try:
            return view(*args, **parts)
        except http.Unauthorized:
            manager = getattr(current_app, "login_manager", None)
            if manager is None or _is_handled():
                raise
            response: ResponseReturnValue = manager.unauthorized()
            return response

    return answer


def _is_handled() -> bool:
    handlers = current_app.error_handler_spec
    return any(handlers.get(name, {}).get(401) for name in (*request.blueprints, None))
