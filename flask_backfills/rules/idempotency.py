"""What is stored of an Idempotency-Key: which request it was sent with."""

from __future__ import annotations

import hashlib
import re
import typing as t

from .canonical import canonical

#: The most characters that a key has.
MOST = 200

#: Printable ASCII, without a space at either end, which servers cut.
PATTERN = f"[!-~]([ -~]{{0,{MOST - 2}}}[!-~])?"

#: Hexadecimal digits of each digest. Before a key of 200 characters they fill a column of 255.
_OF_KEY = 24
_OF_BODY = 31


class Mark(t.NamedTuple):
    """A request as its key marks it.

    It begins with hexadecimal digits, which all databases compare in the same way, whatever the
    collation of the column.
    """

    #: A digest of the pipeline and the key. Every mark with this key in this pipeline begins so.
    first: str
    #: A digest of the body.
    body: str
    key: str

    def __str__(self) -> str:
        return self.first + self.body + self.key

    @property
    def range(self) -> tuple[str, str]:
        """The least and the greatest text that a mark with this key may be.

        >>> least, most = mark("weather", "k-1", {}).range
        >>> least < str(mark("weather", "k-1", {"name": "July"})) < most
        True
        >>> least < str(mark("weather", "k-2", {})) < most
        False
        """
        return self.first, f"{self.first}g"

    def is_of(self, stored: str) -> bool:
        """Whether a stored mark is that of the same request.

        >>> one = mark("weather", "k-1", {"name": "July", "interval_units": 1})
        >>> one.is_of(str(mark("weather", "k-1", {"interval_units": 1, "name": "July"})))
        True
        >>> one.is_of(str(mark("weather", "k-1", {"name": "June", "interval_units": 1})))
        False
        """
        return stored.startswith(self.first + self.body)


def mark(pipeline_uuid: str, key: str, sent: t.Mapping[str, t.Any]) -> Mark:
    """The mark of a request.

    :param sent: what its body asks for. The order of its keys does not count.
    """
    first = _digest([pipeline_uuid, key])[:_OF_KEY]
    return Mark(first, _digest(sent)[:_OF_BODY], key)


def longest(length: int | None) -> int:
    """How many characters of a key a column can hold.

    >>> longest(255), longest(100), longest(None), longest(36)
    (200, 45, 200, 0)

    :param length: that of the column; ``None`` for any.
    """
    return MOST if length is None else max(0, min(MOST, length - _OF_KEY - _OF_BODY))


def refusal(key: str, most: int) -> str | None:
    """Why a key can't be used; ``None`` if it can.

    :param most: the most characters that it may have; 0 where none can be stored.
    """
    if not most:
        return "Backfills here can't store one. Send the request without it."
    if len(key) > most or re.fullmatch(PATTERN, key) is None:
        return f"Must be 1 to {most} printable ASCII characters."
    return None


def _digest(value: t.Any) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()
