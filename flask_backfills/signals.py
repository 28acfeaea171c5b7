"""What a host can listen to, in Flask's way.

Each signal is sent after the commit, by the app, with ``backfill=`` (the host's own
object) and ``changes={attribute: (old, new)}``. What a receiver reads of the object is
read anew from the database, in a transaction of its own.
"""

from __future__ import annotations

import typing as t

from blinker import NamedSignal
from blinker import Namespace
from flask import current_app

from .rules.lifecycle import starts
from .tables.database import AnySession
from .tables.schema import BackfillSchema

_signals = Namespace()

#: Sent when a backfill has changed, by a request or by what the workers report; not when a
#: request asked for what is stored.
backfill_updated = _signals.signal("backfill-updated")

#: Sent when its runs were planned and wait to be handed out.
backfill_started = _signals.signal("backfill-started")

#: Sent when it was cancelled.
backfill_cancelled = _signals.signal("backfill-cancelled")

#: Sent when it has completed or failed.
backfill_finished = _signals.signal("backfill-finished")

_BY_STATUS = {
    "cancelled": backfill_cancelled,
    "completed": backfill_finished,
    "failed": backfill_finished,
}


def tell(
    session: AnySession,
    schema: BackfillSchema,
    backfill: t.Any,
    changes: dict[str, tuple[t.Any, t.Any]],
) -> None:
    """Tell every receiver what has changed, if anything has."""
    if not changes:
        return
    old, new = (schema.word("status", value) for value in changes.get("status", (None, None)))
    _send(backfill_updated, session, backfill, changes)
    if new is not None and starts(old, new):
        _send(backfill_started, session, backfill, changes)
    if new in _BY_STATUS:
        _send(_BY_STATUS[new], session, backfill, changes)


def _send(
    signal: NamedSignal,
    session: AnySession,
    backfill: t.Any,
    changes: dict[str, tuple[t.Any, t.Any]],
) -> None:
    # One that raises is logged, since the change is committed.
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, backfill=backfill, changes=changes)
        except Exception:
            session.rollback()
            app.logger.exception("A receiver of %r raised: %r", signal.name, receiver)
