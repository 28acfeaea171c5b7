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
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session

_signals = Namespace()

#: Sent when an update has changed a backfill; not when it asked for what is stored.
backfill_updated = _signals.signal("backfill-updated")


def send(
    signal: NamedSignal,
    session: Session | scoped_session[Session],
    backfill: t.Any,
    changes: dict[str, tuple[t.Any, t.Any]],
) -> None:
    """Tell every receiver; one that raises is logged, since the update is committed."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, backfill=backfill, changes=changes)
        except Exception:
            session.rollback()
            app.logger.exception("A receiver of %r raised: %r", signal.name, receiver)
