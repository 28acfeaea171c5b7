"""What keeps the pages safe: no form of another site, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

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


#: Methods that change nothing; Flask adds HEAD wherever there is GET.
READS = ("GET", "HEAD")


class Forged(http.Forbidden):
    description = (
        "This form has expired or comes from another site. Nothing was changed. Try again."
    )


def refusals() -> Iterable[type[http.HTTPException]]:
    """Those that are raised here or by the package itself, each with its own words."""
    return (
        Forged,
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


def check_origin() -> None:
    """Let in no change that another site's page has sent."""
    if request.method in (*READS, "OPTIONS"):
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site not in (None, "same-origin"):
        raise Forged()
    if site is None and origin is not None and origin != request.host_url.rstrip("/"):
        raise Forged()
    try:
        validate_csrf(request.form.get("csrf_token"))
    except ValidationError:
        raise Forged() from None


def protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype == "text/html":
        # Caches must ask each time, since access may have changed.
        response.headers["Cache-Control"] = "private, no-cache"
    return response
