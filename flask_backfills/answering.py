"""The JSON of our answers. It is the same whatever provider the app has for its own."""

from __future__ import annotations

import typing as t

from flask import current_app
from flask import Response
from flask.json.provider import DefaultJSONProvider


def dumps(value: t.Any) -> str:
    """JSON whose keys are as the documentation says: an app's provider may rename them."""
    return _provider().dumps(value)


def json_response(**items: t.Any) -> Response:
    """The response of a JSON object."""
    return t.cast(Response, _provider().response(items))


def _provider() -> DefaultJSONProvider:
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    made = DefaultJSONProvider(app)
    # It knows the types of a host's own attributes.
    made.default = getattr(app.json, "default", made.default)
    return made
