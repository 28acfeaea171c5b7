"""The page of what all backfills of a pipeline cover of a span; it makes one of what is missing."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from datetime import datetime
from datetime import timedelta
from datetime import timezone

from flask import redirect
from flask import request
from flask import url_for
from flask.typing import ResponseReturnValue

from .. import errors
from ..host import Host
from ..rules.coverage import KINDS
from ..rules.window import INTERVAL_TYPES
from ..runs.coverage import has_intervals
from ..tables.zoned import read_span
from .frame import Frame
from .guard import check_origin
from .guard import check_token

#: How many pieces of each kind the page shows.
PAGE = 100

#: How many days the page shows of itself, up to today.
_DAYS = 30

#: What a backfill of the gaps is asked for beside its window.
_STEP = ("interval_type", "interval_units")


def covers(host: Host) -> bool:
    """Whether there is such a page: without runs that have intervals there is not."""
    return host.run_model is not None and has_intervals(host.run_table)


def coverage_view(frame: Frame) -> ResponseReturnValue:
    pipeline = request.args.get("pipeline", "")
    frame.host.allow("list", pipeline)
    lately = _lately(frame.host)
    return _page(frame, pipeline, {key: request.args.get(key, lately[key]) for key in lately})


def fill_view(frame: Frame) -> ResponseReturnValue:
    """Make a backfill of the gaps, and go to where it is started."""
    host, pipeline = frame.host, request.args.get("pipeline", "")
    check_origin()
    host.allow("create", pipeline)
    check_token()
    sent = {name: request.form.get(name, "") for name in ("start", "end", *_STEP)}
    try:
        start, end = read_span(sent["start"], sent["end"], host.local_window.zone)
        # The end of the span is not a part of it.
        last = end - timedelta(seconds=1) if host.inclusive else end
        values: dict[str, t.Any] = {
            "start_datetime": start.replace(tzinfo=timezone.utc).isoformat(),
            "end_datetime": last.replace(tzinfo=timezone.utc).isoformat(),
            "settings": {"skip_covered": True},
            **{name: sent[name] for name in _STEP},
        }
        keyed = {host.schema.key_of(name): value for name, value in values.items()}
        saved = host.backfills.create(pipeline, keyed)
    except errors.Refused as refused:
        return _page(frame, pipeline, sent, refused.errors), 422
    page = {"backfill_id": host.table.key_of(saved.backfill)}
    if host.may("update", pipeline):
        return redirect(url_for(".action", action="start", **page), 303)
    return redirect(url_for(".detail", **page), 303)


def _page(
    frame: Frame, pipeline: str, asked: Mapping[str, str], wrong: Mapping[str, t.Any] | None = None
) -> str:
    host = frame.host
    shown: dict[str, t.Any] | None = None
    counts: dict[str, int] = {}
    try:
        zone = host.local_window.zone
        span = read_span(asked["start"], asked["end"], zone)
        shown, counts = host.backfills.coverage(pipeline, *span, 0, PAGE, zone)
    except errors.Refused as refused:
        wrong = wrong or refused.errors
    return frame.render(
        "coverage",
        pipeline=pipeline,
        asked={**_step(host, pipeline), **asked},
        coverage=shown,
        kinds=KINDS,
        more=max(counts.values(), default=0) > PAGE,
        wrong=wrong or {},
        interval_types=INTERVAL_TYPES,
        may_create=host.may("create", pipeline),
    )


def _lately(host: Host) -> dict[str, str]:
    """The span that is shown if nobody asks for another."""
    today = datetime.now(host.local_window.zone or timezone.utc).date()
    return {"start": str(today - timedelta(days=_DAYS)), "end": str(today)}


def _step(host: Host, pipeline: str) -> dict[str, t.Any]:
    """The step of the newest backfill of the pipeline."""
    found, _ = host.backfills.page([pipeline], None, 0, 1)
    shown = host.backfills.show(found[0]) if found else {}
    kind, units = (shown.get(host.schema.key_of(name)) for name in _STEP)
    return {"interval_type": kind or "day", "interval_units": units or 1}
