"""The notes of a preview: what people overlook in its window, and who else is at work there."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from ..rules import notes
from ..rules.lifecycle import ACTIVE
from ..rules.notes import Other
from ..rules.notes import Span
from ..tables import columns
from ..tables import lists
from ..tables.backfill_table import BackfillTable
from .expansion import DECISIVE
from .expansion import Expansion
from .replan import Preview

#: How many active backfills of a pipeline are looked at.
MOST = 1_000


def note(table: BackfillTable, expansion: Expansion, backfill: t.Any, preview: Preview) -> None:
    """Write the notes of a preview that has planned a window."""
    window = preview.window
    if window is None:
        return
    if preview.others:
        span = notes.span_of(window)
        others = _others(table, expansion, backfill, span)
        more = len(others) > MOST
        preview.notes += notes.overlaps(span, others[:MOST], more, preview.zone)
    preview.notes += notes.notes(window)


def _others(table: BackfillTable, expansion: Expansion, backfill: t.Any, span: Span) -> list[Other]:
    """The other visible backfills of a pipeline that are active and begin before the end of a
    span, newest first."""
    model, schema = table.model, expansion.schema
    held = {name: columns.column_of(table.mapper, name) for name in (*DECISIVE, "status")}
    start = held["start_datetime"]
    if start is None or held["status"] is None:
        return []
    end = columns.in_utc(span.end, columns.is_aware(start))
    criteria = [
        lists.of_pipelines(table, [str(backfill.pipeline_uuid)]),
        sa.or_(*(schema.is_word(model, "status", word) for word in ACTIVE)),
        model.start_datetime < end,
    ]
    if (key := table.key_of(backfill)) is not None:
        criteria.append(table.key != key)
    # Not whole rows: the host's own columns may be large.
    read = [getattr(model, name).label(name) for name, column in held.items() if column is not None]
    query = table.select(*criteria).with_only_columns(table.key.label("other_key"), *read)
    rows = table.database.execute(query.order_by(table.key.desc()).limit(MOST + 1))
    return [
        Other(str(row.other_key), schema.word("status", row.status), found)
        for row in rows
        if (found := _span(expansion, row)) is not None
    ]


def _span(expansion: Expansion, row: t.Any) -> Span | None:
    """What a backfill covers, as far as its attributes tell."""
    values = expansion.values(row)
    window = expansion.window(values)
    if window is not None and values["block_uuid"] is None and window.count():
        return notes.span_of(window)
    if values["start_datetime"] is None or values["end_datetime"] is None:
        return None
    start, end = (columns.in_utc(values[name], False) for name in DECISIVE[:2])
    return Span(start, end)
