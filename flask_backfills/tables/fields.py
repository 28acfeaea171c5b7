"""The kinds of attributes: from what is sent to a value, and from a value to what is shown.

Which attribute is of which kind stands in :mod:`.schema`.
"""

from __future__ import annotations

import math
import re
import typing as t
import uuid
from collections.abc import Callable
from datetime import datetime
from datetime import tzinfo

import sqlalchemy as sa
from marshmallow import fields
from marshmallow import validate
from marshmallow import ValidationError

from ..rules import zones
from ..rules.canonical import canonical
from . import columns
from .columns import storable

_DATETIME = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[T ]((?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?)(?:(?<=:\d\d:\d\d)\.(\d{1,6})0*)?"
    r"(?:(Z)|([+-](?:[01]\d|2[0-3]))(?::?([0-5]\d))?)?)?",
    re.ASCII,
)

#: Fields that are shown by a function of a row, and not of a value.
COMPUTED = (fields.Function, fields.Method)


class Attribute:
    """For a field that shows an attribute of a model's row, or null where there is none."""

    def serialize(
        self: t.Any, attr: str, obj: t.Any, accessor: t.Any = None, **kwargs: t.Any
    ) -> t.Any:
        return self._serialize(getattr(obj, self.attribute or attr, None), attr, obj)


class UTCDateTime(Attribute, fields.DateTime):
    """ISO 8601, converted to UTC and shown with a space: ``2023-07-18 23:30:26``.

    With a ``zone``, one without an offset is of that zone, and it is shown there with its offset:
    ``2023-07-18 19:30:26-04:00``.
    """

    default_error_messages = {
        "invalid": "Not an ISO 8601 date, or date and time, such as 2023-07-18T23:30:26Z.",
        "range": "Not within the years 1 to 9999 in UTC.",
    }
    aware = False
    zone: tzinfo | None = None

    def _deserialize(self, value: t.Any, *args: t.Any, **kwargs: t.Any) -> datetime:
        found = _DATETIME.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise self.make_error("invalid")
        day, time, fraction, utc, hours, minutes = found.groups()
        offset = "+00:00" if utc else f"{hours}:{minutes or '00'}" if hours else ""
        iso = f"{day}T{time or '00:00'}{f'.{fraction:0<6}' if fraction else ''}{offset}"
        try:
            moment = datetime.fromisoformat(iso)
        except ValueError:
            raise self.make_error("invalid") from None
        try:
            if self.zone is not None and moment.tzinfo is None:
                moment = zones.moment_of(moment, self.zone)
            return columns.in_utc(moment, self.aware)
        except OverflowError:
            raise self.make_error("range") from None

    def _serialize(self, value: t.Any, attr: t.Any, obj: t.Any, **kwargs: t.Any) -> t.Any:
        if not isinstance(value, datetime):
            return value
        if self.zone is not None:
            return zones.show(columns.in_utc(value, False), self.zone)
        return columns.in_utc(value, self.aware).isoformat(sep=" ")


class WholeNumber(Attribute, fields.Integer):
    """An integer: accepts ``3``, ``"3"`` and ``3.0``, but no value that needs rounding."""

    def _validated(self, value: t.Any) -> int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if not whole and not (isinstance(value, str) and re.fullmatch("-?[0-9]+", value)):
            raise self.make_error("invalid")
        return super()._validated(value)

    def _serialize(self, value: t.Any, attr: t.Any, obj: t.Any, **kwargs: t.Any) -> t.Any:
        return value


class Text(Attribute, fields.String):
    """A string that every database can store."""

    default_error_messages = {"unstorable": "Must not contain NUL or an unpaired surrogate."}

    def _deserialize(self, value: t.Any, *args: t.Any, **kwargs: t.Any) -> str:
        found: str = super()._deserialize(value, *args, **kwargs)
        if not storable(found):
            raise self.make_error("unstorable")
        return found


class Choice(Text):
    """One of a list of words. An enum member in the column is shown as its word."""

    def __init__(self, words: t.Iterable[str], **kwargs: t.Any) -> None:
        super().__init__(**kwargs)
        self.members: dict[str, t.Any] = {word: word for word in words}

    def narrow(self, enum: sa.Enum) -> None:
        """Keep the words that the column has, each with the value that stands for it."""
        by_word: dict[str, t.Any] = {word: word for word in enum.enums}
        if enum.enum_class is not None:
            members: list[t.Any] = list(enum.enum_class)
            by_word = {member.name: member for member in members}
            by_word.update((str(member.value), member) for member in members)
        self.members = {word: by_word[word] for word in self.members if word in by_word}

    def _deserialize(self, value: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        word = super()._deserialize(value, *args, **kwargs)
        return self.members[validate.OneOf(self.members)(word)]

    def _serialize(self, value: t.Any, attr: t.Any, obj: t.Any, **kwargs: t.Any) -> t.Any:
        if value is None or value.__class__ is str:
            return value
        for word, member in self.members.items():
            if member == value:
                return word
        return getattr(value, "name", value)


class JSONObject(Attribute, fields.Dict):
    """A JSON object that every database can store."""

    default_error_messages = {
        "invalid": "Not a JSON object.",
        "infinite": "Must not contain NaN or Infinity.",
        "not_json": "Contains a value that is not JSON.",
        "unstorable": "Must not contain NUL or an unpaired surrogate.",
    }

    def _deserialize(self, value: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        found = super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call]
        waiting: list[t.Any] = [found]
        while waiting:
            node = waiting.pop()
            if isinstance(node, dict):
                waiting += [*node.keys(), *node.values()]
            elif isinstance(node, list):
                waiting += node
            elif isinstance(node, float) and not math.isfinite(node):
                raise self.make_error("infinite")
            elif isinstance(node, str) and not storable(node):
                raise self.make_error("unstorable")
            elif not isinstance(node, (str, int, float, type(None))):
                raise self.make_error("not_json")
        return found

    def _serialize(self, value: t.Any, attr: t.Any, obj: t.Any, **kwargs: t.Any) -> t.Any:
        return value


class AsColumn(Attribute, fields.Raw):
    """An integer, a UUID or a string, like the host's column."""

    def __init__(self, **kwargs: t.Any) -> None:
        super().__init__(**kwargs)
        self.inner: t.Any = Text()

    def follow(self, column: sa.Column[t.Any]) -> None:
        kind = columns.python_type(column)
        self.inner = {int: WholeNumber, uuid.UUID: fields.UUID, str: Text}[kind]()

    def _deserialize(self, value: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return self.inner.deserialize(value, *args, **kwargs)

    def _serialize(self, value: t.Any, attr: t.Any, obj: t.Any, **kwargs: t.Any) -> t.Any:
        return self.inner._serialize(value, attr, obj, **kwargs)


_SCALARS = {str, int, bool, type(None)}
_JSON = {*_SCALARS, float, dict, list}


def same(one: t.Any, other: t.Any) -> bool:
    """Whether two values are the same JSON: ``1``, ``1.0`` and ``true`` are three."""
    kind = type(one)
    if kind in _JSON and type(other) in _JSON:
        if kind is not type(other) or one != other:
            return False
        if kind in _SCALARS:
            return True
    return canonical(one) == canonical(other)


def held(column: sa.Column[t.Any], sent: t.Any, dialect: Callable[[], sa.Dialect]) -> t.Any:
    """What a column of keys or names holds for what a caller names; ``None`` for nothing.

    Another spelling of it, such as ``007``, is nothing: it is not what the caller may see.

    :param dialect: returns that of the database.
    """
    text = str(sent)
    if not storable(text):
        return None
    type_ = columns.plain_type(column)
    if isinstance(column.type, sa.types.TypeDecorator):
        return sent if _is_held(column.type, sent, dialect()) else None
    if isinstance(type_, sa.Enum):
        return sent if text in type_.enums else None
    kind = columns.python_type(column)
    if kind is not int and not isinstance(type_, sa.Uuid):
        return sent
    found: t.Any
    try:
        found = int(text) if kind is int else uuid.UUID(text)
    except ValueError:
        return None
    if str(found) != text:
        return None
    if kind is int:
        least, most = columns.integer_range(column)
        return found if least <= found <= most else None
    return found if kind is uuid.UUID else text


def _is_held(type_: t.Any, value: t.Any, dialect: sa.Dialect) -> bool:
    """Whether a type of the host's own takes a value, and reads the same from the database."""
    type_ = type_.dialect_impl(dialect)
    write, read = type_.bind_processor(dialect), type_.result_processor(dialect, None)
    try:
        stored = write(value) if write else value
    except Exception:
        return False
    try:
        return str(read(stored) if read else stored) == str(value)
    except Exception:
        # Its driver has a hand in it.
        return True


def reachable(value: t.Any) -> None:
    """Refuse a name that no path can carry: clients resolve dots, and servers decode ``%2F``.

    >>> reachable("a/b")
    Traceback (most recent call last):
    marshmallow.exceptions.ValidationError: No URL reaches this name: it must not be empty, "." or "..", or contain "/".
    """
    name = str(value)
    if name in ("", ".", "..") or "/" in name:
        raise ValidationError(
            'No URL reaches this name: it must not be empty, "." or "..", or contain "/".'
        )


def also(field: t.Any, validator: validate.Validator) -> None:
    """Let a field of one schema refuse more."""
    # marshmallow copies a declared field for each schema, but not its list.
    field.validators = [*field.validators, validator]
