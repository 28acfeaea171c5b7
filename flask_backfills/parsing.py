"""JSON that a caller sent: its bytes within limits, and what they mean."""

from __future__ import annotations

import io
import json
import math
import typing as t

from flask import Request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import RequestEntityTooLarge

from . import config
from . import errors

#: Levels of objects and arrays in a body. A value of a backfill in it has two less, and MariaDB's
#: JSON holds no more than 31.
MAX_DEPTH = 32


#: Where the environment of a request has a body of unknown length, once it was read.
_READ = "flask_backfills.body"


def max_content_length() -> int:
    """The bytes that a body may have, as the app's config says."""
    return config.whole("BACKFILLS_MAX_CONTENT_LENGTH")


def read_bytes(request: Request) -> bytes:
    """The body of a request. It may be read again.

    :raises werkzeug.exceptions.RequestEntityTooLarge: for more bytes than
        ``BACKFILLS_MAX_CONTENT_LENGTH``.
    :raises flask_backfills.errors.Malformed: if it ends too soon.
    """
    limit = max_content_length()
    length = request.content_length
    if length is None:
        # Chunked: how long it is shows only while it is read, and that only once.
        environ = request.environ
        if _READ not in environ:
            environ[_READ] = read_up_to(request.stream, limit + 1)
        content = t.cast(bytes, environ[_READ])
        length = len(content)
    elif length <= limit:
        content = request.get_data()
    if length > limit:
        raise RequestEntityTooLarge(f"The body must not be longer than {limit} bytes.")
    return content


def read_up_to(stream: t.IO[bytes], most: int) -> bytes:
    """So many bytes of a body, or all that it has.

    :raises flask_backfills.errors.Malformed: if it ends too soon.
    """
    content = io.BytesIO()
    try:
        while content.tell() < most and (part := stream.read(most - content.tell())):
            content.write(part)
    except HTTPException:
        raise
    except Exception:
        # A chunk that is cut, or has no length: each server has errors of its own for that.
        raise errors.Malformed("The body ends too soon, or its chunks are malformed.") from None
    return content.getvalue()


def parse(content: bytes, what: str = "The body") -> t.Any:
    """Parse bytes as JSON.

    :raises flask_backfills.errors.Malformed: for what is no JSON, has a key twice in an
        object or is nested too deep.
    """
    too_deep = f"{what} is nested more than {MAX_DEPTH} levels deep."
    try:
        value = _DECODER.decode(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise errors.Malformed(f"{what} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise errors.Malformed(f"{what} is not JSON: {error}.") from None
    except _Twice as twice:
        raise errors.Malformed(f"{what} has a key twice: {errors.text(*twice.args)}.") from None
    except RecursionError:
        raise errors.Malformed(too_deep) from None
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return value
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return value
    raise errors.Malformed(too_deep)


class _Twice(Exception):
    """An object has the same key twice."""


def _children(node: t.Any) -> t.Iterable[t.Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _unique(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    # json keeps the last of two equal keys and drops the first in silence.
    found: dict[str, t.Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


def _integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        # More digits than Python reads; the schema refuses what is not finite by its key.
        return math.inf


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer)
