"""The window of a backfill in the time zone of its blueprint: read and shown there.

Only the window is. All other timestamps are in UTC.
"""

from __future__ import annotations

from datetime import tzinfo

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


def use_zone(schema: BackfillSchema, zone: tzinfo) -> None:
    """Let a schema read and show the window in a zone."""
    schema.window_zone = zone
    for field in fields_of_window(schema).values():
        field.zone = zone
