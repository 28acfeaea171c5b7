"""What keeps the pages safe: no form of another site, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app
from flask import g
from flask import request
from flask import Response
from flask.sansio.blueprints import BlueprintSetupState
from flask_wtf.csrf import validate_csrf
from werkzeug import exceptions as http
from wtforms.validators import ValidationError

from .. import errors

#: The Content-Security-Policy: pages load only their own files, and nothing inline.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


class Forged(http.Forbidden):
    description = (
        "This form has expired or comes from another site. Nothing was changed. Try again."
    )


class Unseen(http.PreconditionFailed):
    description = (
        "This form has no plan. Open the page that asks first, and send its hidden field"
        " plan too. Nothing was changed."
    )


def refusals() -> Iterable[type[http.HTTPException]]:
    """Those that are raised here or by the package itself, each with its own words."""
    return (
        Forged,
        Unseen,
        http.RequestEntityTooLarge,
        http.UnsupportedMediaType,
        *(
            kind
            for kind in vars(errors).values()
            if isinstance(kind, type)
            and issubclass(kind, http.HTTPException)
            and kind.__module__ == errors.__name__
        ),
    )


def require_secret(state: BlueprintSetupState) -> None:
    """Refuse an app that could not make the tokens of the forms."""
    if not state.app.secret_key:
        raise RuntimeError(
            "the console needs a SECRET_KEY for the tokens of its forms: set"
            " app.config['SECRET_KEY'] before you register it"
        )


def token_name() -> str:
    """The name of the field that has the token of a form."""
    return str(current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token"))


def check_origin() -> None:
    """Let in no form that another site's page has sent, as the headers tell."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site not in (None, "same-origin"):
        raise Forged()
    if site is None and origin is not None and origin != request.host_url.rstrip("/"):
        raise Forged()


def check_token() -> None:
    """Let in only a form that has the token of the user's session. This reads the body."""
    config = current_app.config
    if current_app.testing and not config.get("WTF_CSRF_ENABLED", True):
        return
    # Read in any case: what is too long or no form is refused as such.
    token = request.form.get(token_name())
    if g.get("csrf_valid", False):
        # Flask-WTF's CSRFProtect has accepted it already.
        return
    try:
        validate_csrf(token)
    except ValidationError:
        raise Forged() from None


@contextmanager
def seen_plan() -> Iterator[str]:
    """For a change that the user has seen the plan of: the plan that the form names."""
    plan = request.form.get("plan", "")
    try:
        yield plan
    except errors.PlanMismatch:
        if plan:
            raise
        raise Unseen() from None


def protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype == "text/html":
        # Caches must ask each time, since access may have changed.
        response.headers["Cache-Control"] = "private, no-cache"
    return response
