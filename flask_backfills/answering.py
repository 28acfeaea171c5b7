"""The JSON of our answers. It is the same whatever provider the app has for its own."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable

from flask import current_app
from flask import Flask
from flask import Response
from flask.json.provider import DefaultJSONProvider


def dumps(value: t.Any) -> str:
    """JSON whose keys are as the documentation says: an app's provider may rename them."""
    return encoder().encode(value)


def encoder() -> json.JSONEncoder:
    """What :func:`dumps` uses, for several values."""
    return json.JSONEncoder(default=_default(_app()), sort_keys=True)


def json_response(**items: t.Any) -> Response:
    """The response of a JSON object."""
    app = _app()
    made = DefaultJSONProvider(app)
    made.default = _default(app)
    return t.cast(Response, made.response(items))


def _default(app: Flask) -> Callable[[t.Any], t.Any]:
    # It knows the types of a host's own attributes.
    return getattr(app.json, "default", DefaultJSONProvider.default)


def _app() -> Flask:
    # Not its proxy, which is slower each time that it is asked.
    return t.cast(Flask, current_app._get_current_object())  # type: ignore[attr-defined]
