"""The JSON of our answers. It is the same whatever provider the app has for its own."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable

from flask import current_app
from flask import Response
from flask.json.provider import DefaultJSONProvider


def dumps(value: t.Any) -> str:
    """JSON whose keys are as the documentation says: an app's provider may rename them."""
    return json.dumps(value, default=_default(), sort_keys=True)


def json_response(**items: t.Any) -> Response:
    """The response of a JSON object."""
    made = DefaultJSONProvider(current_app._get_current_object())  # type: ignore[attr-defined]
    made.default = _default()
    return t.cast(Response, made.response(items))


def _default() -> Callable[[t.Any], t.Any]:
    # It knows the types of a host's own attributes.
    return getattr(current_app.json, "default", DefaultJSONProvider.default)
