"""What the runs of a backfill have failed with: a line for each kind of error, for the pages."""

from __future__ import annotations

import typing as t
from datetime import timezone
from datetime import tzinfo

from ..host import Host
from ..rules.failures import Failure
from ..rules.failures import failures
from ..rules.sight import seen
from ..rules.spans import between
from ..runs import failures as reading
from .frame import Frame

#: How many kinds of errors a page shows.
SHOWN = 5


class Failures(t.NamedTuple):
    """What a page shows of failures."""

    #: Each as the template reads it: ``name``, ``message``, ``runs``, ``dates``.
    groups: list[dict[str, t.Any]]
    #: How many kinds of errors there are beside those.
    others: int
    #: Whether there are more different errors than were read, so that counts are the least.
    are_cut: bool


def failures_of(frame: Frame, backfill: t.Any, shown: int = SHOWN) -> Failures:
    """Group the errors of the failed runs of a backfill, the most frequent first. One SELECT.

    At most :data:`flask_backfills.runs.failures.MOST` different errors are read, the most frequent
    first. Where there are more, ``are_cut`` says so: then each group has at least so many runs,
    and some groups may be missing.

    :param shown: how many groups are wanted.
    """
    found, are_cut = _found(frame.host, backfill)
    zone = frame.host.local_window.zone or timezone.utc
    told = [
        {
            "name": one.name,
            "message": seen(one.message),
            "runs": one.runs,
            "dates": _dates(frame, one, zone),
        }
        for one in found[:shown]
    ]
    return Failures(told, max(len(found) - shown, 0), are_cut)


def _dates(frame: Frame, one: Failure, zone: tzinfo) -> str | None:
    if one.first is None or one.last is None:
        return None
    return between(one.first, one.last, zone, frame.translate)


def failure_of(host: Host, backfill: t.Any, name: str) -> Failure | None:
    """The failure of a name; ``None`` if no failed run has such an error, or not any more."""
    return next((one for one in _found(host, backfill)[0] if one.name == name), None)


def _found(host: Host, backfill: t.Any) -> tuple[list[Failure], bool]:
    if host.run_model is None or not reading.are_told(host.run_table):
        return [], False
    errors = reading.seen(host.run_table, backfill, reading.MOST + 1)
    return failures(errors[: reading.MOST]), len(errors) > reading.MOST
