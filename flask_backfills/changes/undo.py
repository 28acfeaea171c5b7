"""What undoes the last edit of a backfill: the values that were there before, as a request has them."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from .. import errors
from ..rules.canonical import canonical
from ..runs.followed import REPORTED
from .backfills import Backfills


def last_edit(
    backfills: Backfills, backfill: t.Any, *, held: bool = False
) -> dict[str, t.Any] | None:
    """The last edit of a backfill with the changes that can be undone; ``None`` if there is none.

    A status is not put back: the actions change it, and its timestamps with it.

    :param held: whether the backfill is locked.
    """
    events = backfills.events
    event = events and events.newest(backfill, "update", held=held)
    if events is None or event is None:
        return None
    shown = events.show(event)
    changes = _undoable(backfills, shown["changes"], backfills.show(backfill))
    return {**shown, "changes": changes} if changes else None


def sent(backfills: Backfills, backfill: t.Any, event_id: str) -> dict[str, t.Any]:
    """What to send for a locked backfill to undo its last edit.

    :param event_id: the edit that is meant.
    :raises flask_backfills.errors.NotTheLastEdit: if that is not the last one, or all that it
        has changed was changed since.
    """
    event = last_edit(backfills, backfill, held=True)
    if event is None or str(event["id"]) != event_id:
        raise errors.NotTheLastEdit()
    return {key: change["from"] for key, change in event["changes"].items()}


def _undoable(
    backfills: Backfills, changes: Mapping[str, t.Any], now: Mapping[str, t.Any]
) -> dict[str, t.Any]:
    schema = backfills.schema
    status = schema.key_of("status")
    needed = {f.data_key or name for name, f in schema.load_fields.items() if not f.allow_none}
    kept = {*map(schema.key_of, REPORTED)} if status in changes else {status}
    return {
        key: change
        for key, change in changes.items()
        if key not in kept
        and key not in schema.closed
        and not change.get("too_large")
        and not (change["from"] is None and key in needed)
        # What was changed by other means since is not what was edited.
        and canonical(now.get(key)) == canonical(change["to"])
    }
