"""Signals that your app can connect to, as with Flask's own signals.

Each signal is sent after the commit. The sender is the app. The arguments are ``backfill=``
(an object of your model) and ``changes={attribute: (old, new)}``. When a receiver reads an
attribute of the object, it is loaded again from the database, in a new transaction.
"""

from __future__ import annotations

import logging
import typing as t

from blinker import NamedSignal
from blinker import Namespace
from flask import current_app
from sqlalchemy.orm import Session

from .rules.lifecycle import starts
from .tables.logs import log
from .tables.schema import BackfillSchema
from .tables.session import undo

_signals = Namespace()

#: Sent when a request or a worker has changed a backfill. Not sent when a request sent only
#: the stored values. ``changes`` is empty if only a run of it was changed.
backfill_updated = _signals.signal("backfill-updated")

#: Sent when a backfill was started.
backfill_started = _signals.signal("backfill-started")

#: Sent when a backfill was cancelled.
backfill_cancelled = _signals.signal("backfill-cancelled")

#: Sent when a backfill has completed or failed.
backfill_finished = _signals.signal("backfill-finished")

_BY_STATUS = {
    "cancelled": backfill_cancelled,
    "completed": backfill_finished,
    "failed": backfill_finished,
}


def tell(
    session: Session,
    schema: BackfillSchema,
    backfill: t.Any,
    changes: dict[str, tuple[t.Any, t.Any]],
    *,
    of_run: bool = False,
) -> None:
    """Send the signals for a change, if anything has changed.

    :param of_run: whether a run of it was changed, too.
    """
    if not (changes or of_run):
        return
    old, new = (schema.word("status", value) for value in changes.get("status", (None, None)))
    _send(backfill_updated, session, backfill, changes)
    if new is not None and starts(old, new):
        _send(backfill_started, session, backfill, changes)
    if new in _BY_STATUS:
        _send(_BY_STATUS[new], session, backfill, changes)


def _send(
    signal: NamedSignal,
    session: Session,
    backfill: t.Any,
    changes: dict[str, tuple[t.Any, t.Any]],
) -> None:
    # Log an error of a receiver; the change is already committed.
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, backfill=backfill, changes=changes)
        except (SystemExit, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException:
            # A cancelled task or a time-out of gevent's, too: what was changed is stored.
            undo(session)
            text = "A receiver of the signal %r failed: %r"
            log(logging.ERROR, text, signal.name, receiver, app=app, exc_info=True)
