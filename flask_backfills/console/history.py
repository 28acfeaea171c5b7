"""The history of a backfill on its page, and the page that undoes its last edit."""

from __future__ import annotations

import typing as t
from functools import partial

from flask import request
from flask.typing import ResponseReturnValue

from .. import errors
from ..changes import undo
from ..host import Host
from ..rules.history import AGAIN
from ..rules.history import of_runs
from ..rules.history import whole_seconds
from . import differences
from . import timeline
from .field import label_of
from .frame import Frame
from .guard import seen_plan
from .summaries import plan_of
from .summaries import summaries

#: How many changes a page shows.
PAGE = 20

#: What the page tells anyway, or what follows from the event.
SAID = ("id", "pipeline_uuid", "created_at", "updated_at")


def changes_of(host: Host, backfill: t.Any) -> dict[str, t.Any] | None:
    """A page of the changes of a backfill; ``None`` if none are kept."""
    if host.events is None:
        return None
    page = max(request.args.get("changes", 1, int), 1)
    found, total = host.backfills.history(backfill, min((page - 1) * PAGE, 2**31), PAGE)
    last = undo.last_edit(host.backfills, backfill)
    status = host.schema.key_of("status")
    return {
        "events": [
            {
                **one,
                "of_runs": of_runs(one),
                "lines": _lines(host, one["changes"]),
                "again": AGAIN.get(one["changes"].get(status, {}).get("reprocess")),
            }
            for one in found
        ],
        "status_label": label_of(status),
        "page": page,
        "pages": max(-(-total // PAGE), 1),
        "undo": last and last["id"],
    }


def undo_view(frame: Frame, backfill_id: t.Any) -> ResponseReturnValue:
    backfill = frame.find("update", backfill_id)
    edit = undo.last_edit(frame.host.backfills, backfill)
    if edit is None:
        raise errors.NotTheLastEdit()
    of, sent = frame.name_of(backfill), _sent(frame, str(edit["id"]))
    would, preview = frame.preview(*of, sent)
    return frame.render(
        "undo",
        backfill=summaries(frame.host, [backfill])[0],
        edit=edit,
        changed=differences.between(*_ends(frame.host, edit["changes"])),
        plan=plan_of(would),
        strip=timeline.of_plan(preview.entries),
    )


def undone_view(frame: Frame, backfill: t.Any, action: str) -> ResponseReturnValue:
    of, sent = frame.name_of(backfill), _sent(frame, request.form.get("edit", ""))
    with seen_plan() as plan:
        frame.host.backfills.update(*of, sent, if_plan_match=plan)
    return frame.back(of, "undone")


def _lines(host: Host, changes: t.Any) -> list[differences.Difference]:
    """From what to what an event has changed, an attribute or a key of it a line."""
    after, before = _ends(host, changes)
    for key, change in changes.items():
        for end, size in change.get("too_large", {}).items():
            {"from": before, "to": after}[end][key] = f"{size:,} bytes"
    return [
        one._replace(old=one.old and whole_seconds(one.old), new=one.new and whole_seconds(one.new))
        for one in differences.between(before, after, [*map(host.schema.key_of, SAID)])
    ]


def _ends(host: Host, changes: t.Any) -> list[dict[str, t.Any]]:
    """The attributes after the edit and before it, since to undo it goes back."""
    return [
        host.local_window.show({key: one.get(end) for key, one in changes.items()})
        for end in ("to", "from")
    ]


def _sent(frame: Frame, event_id: str) -> t.Any:
    return partial(undo.sent, frame.host.backfills, event_id=event_id)
