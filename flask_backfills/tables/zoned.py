"""The window of a backfill in the time zone of its blueprint: read and shown there.

Only the window is. All other timestamps are in UTC.
"""

from __future__ import annotations

import copy
import typing as t
from collections.abc import Mapping
from datetime import datetime
from datetime import timezone
from datetime import tzinfo

from marshmallow import Schema
from marshmallow import validates_schema
from marshmallow import ValidationError

from .. import errors
from .fields import UTCDateTime
from .schema import BackfillSchema

#: The attributes of the window.
WINDOW = ("start_datetime", "end_datetime")


def fields_of_window(schema: BackfillSchema) -> dict[str, UTCDateTime]:
    """The fields of the window by their names on the wire, without those of the host's own kind."""
    return {
        field.data_key or name: field
        for name, field in schema.fields.items()
        if (field.attribute or name) in WINDOW and isinstance(field, UTCDateTime)
    }


def moment_field(zone: tzinfo | None) -> UTCDateTime:
    """A field for a moment that people write.

    :param zone: that of a time without an offset; ``None`` for UTC.
    """
    field = UTCDateTime()
    field.zone = zone
    return field


class Span(Schema):
    """A start and an end after it, as people and requests write them."""

    start_datetime = UTCDateTime(required=True)
    end_datetime = UTCDateTime(required=True)

    @validates_schema
    def _ends_after_it_starts(self, asked: dict[str, t.Any], **more: t.Any) -> None:
        if asked["end_datetime"] <= asked["start_datetime"]:
            raise ValidationError("Must be after start_datetime.", "end_datetime")


def read_span(start: str, end: str, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """Two moments as people write them, naive and in UTC.

    :param zone: that of a time without an offset; ``None`` for UTC.
    :raises flask_backfills.errors.Refused: for what is no moment, and for an end that is not after
        the start.
    """
    schema = Span()
    for field in schema.fields.values():
        t.cast(UTCDateTime, field).zone = zone
    try:
        found = schema.load(dict(zip(WINDOW, (start, end), strict=True)))
    except ValidationError as error:
        raise errors.Refused(error.normalized_messages()) from None  # type: ignore[no-untyped-call]
    return found["start_datetime"], found["end_datetime"]


def use_zone(schema: BackfillSchema, zone: tzinfo) -> None:
    """Let a schema read and show the window in a zone."""
    schema.window_zone = zone
    for field in fields_of_window(schema).values():
        field.zone = zone


def reshown(field: UTCDateTime, change: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A change of an end of the window as it is shown now.

    When it was written, the blueprint may have shown windows in UTC, without an offset, or in
    another zone.
    """
    return {end: _reshown(field, value) for end, value in change.items()}


def _reshown(field: UTCDateTime, value: t.Any) -> t.Any:
    if not isinstance(value, str):
        return value
    try:
        return field._serialize(UTCDateTime()._deserialize(value), "", None)
    except ValidationError:
        return value


class LocalWindow:
    """Turns windows as people read and write them into those on the wire, and back.

    People have them in the zone of the blueprint, with the offset. In UTC both are the same.
    """

    def __init__(self, schema: BackfillSchema, zone: tzinfo) -> None:
        #: The zone; ``None`` if it is UTC, where nothing is turned.
        self.zone = None if zone is timezone.utc else zone
        #: The names of the window on the wire, where people have it in the zone.
        self.keys = set(fields_of_window(schema)) if self.zone is not None else set[str]()
        #: The fields that read and show what is on the wire, each with one for people.
        self._fields: dict[str, tuple[UTCDateTime, UTCDateTime]] = {}
        for key, field in fields_of_window(schema).items():
            if self.zone is not None:
                local = copy.copy(field)
                local.zone = zone
                self._fields[key] = field, local

    def read(self, sent: Mapping[str, t.Any]) -> dict[str, t.Any]:
        """What a request would send for what people have written.

        :raises flask_backfills.errors.Refused: for a time that UTC does not have.
        """
        found = dict(sent)
        for key, (wire, local) in self._fields.items():
            if not isinstance(found.get(key), str):
                continue
            try:
                # Without validators: they see it when it is written.
                moment = local._deserialize(found[key], key, found)
                found[key] = wire._serialize(moment, key, None)
            except ValidationError as error:
                self._refuse_what_is_valid_elsewhere(key, found[key], error)
        return found

    def show(self, shown: Mapping[str, t.Any]) -> dict[str, t.Any]:
        """What people read for what is shown on the wire."""
        found = dict(shown)
        for key, (wire, local) in self._fields.items():
            if isinstance(found.get(key), str):
                found[key] = local._serialize(wire._deserialize(found[key], key, found), key, None)
        return found

    def _refuse_what_is_valid_elsewhere(self, key: str, text: str, error: ValidationError) -> None:
        wire, _ = self._fields[key]
        try:
            wire._deserialize(text, key, {})
        except ValidationError:
            # Refused with whatever else is wrong.
            return
        raise errors.Refused({key: error.messages}) from None
