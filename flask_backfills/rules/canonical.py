"""One text for each JSON value: to compare values, and to make digests of them."""

from __future__ import annotations

import json
import typing as t


def canonical(value: t.Any) -> str:
    """The JSON of a value, whatever the order of its keys.

    >>> canonical({"b": 1, "a": [True]}) == canonical({"a": [True], "b": 1})
    True
    """
    return json.dumps(value, sort_keys=True, default=str)
