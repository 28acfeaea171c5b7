"""The page of a pipeline: what its backfills cover of a span, as a calendar; it fills the gaps."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import date
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from datetime import tzinfo

from flask import redirect
from flask import request
from flask import url_for
from flask.typing import ResponseReturnValue

from .. import errors
from ..changes.expansion import show
from ..host import Host
from ..rules import grid
from ..rules.coverage import Coverage
from ..rules.coverage import KINDS
from ..rules.coverage import shared
from ..rules.coverage import spread
from ..rules.shares import percent
from ..rules.window import INTERVAL_TYPES
from ..rules.window import local
from ..tables import columns
from ..tables.zoned import read_span
from ..tables.zoned import WINDOW
from .create import new_key
from .frame import Frame
from .grid import Cell
from .grid import drawn
from .grid import labelled
from .grid import parts
from .grid import spanned
from .guard import check_origin
from .guard import check_token
from .summaries import summaries
from .summaries import window_of

#: How many pieces of each kind the page lists, and how many backfills.
PAGE, BACKFILLS = 100, 10

#: The kinds of pieces and of parts of cells, as people call them, and their order.
NAMED = {
    "completed": "completed",
    "covered": "completed",
    "twice": "completed twice",
    "overlaps": "completed twice",
    "running": "running",
    "failed": "failed",
    "missing": "missing",
    "gaps": "missing",
}
ORDER = ("completed", "twice", "running", "failed", "missing")

#: How many days the page shows up to today, where no backfill has a window.
_DAYS = 30

#: What a backfill of the gaps is asked for beside its window.
_STEP = ("interval_type", "interval_units")


def coverage_view(frame: Frame) -> ResponseReturnValue:
    pipeline = request.args.get("pipeline", "")
    frame.host.allow("list", pipeline)
    asked = {key: request.args[key] for key in ("start", "end") if key in request.args}
    return _page(frame, pipeline, asked)


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
        # A form that is sent twice makes one.
        mark = request.form.get("key") or None
        saved = host.backfills.create(pipeline, keyed, idempotency_key=mark)
    except errors.Refused as refused:
        return _page(frame, pipeline, sent, refused.errors), 422
    key = host.table.key_of(saved.backfill)
    if host.may("update", pipeline):
        return redirect(url_for(".action", action="start", backfill_id=key), 303)
    return frame.back((pipeline, key), "created")


def _page(
    frame: Frame, pipeline: str, asked: Mapping[str, str], wrong: Mapping[str, t.Any] | None = None
) -> str:
    host = frame.host
    found, total = host.backfills.page([pipeline], None, 0, BACKFILLS)
    asked, step = {**_span(host, found), **asked}, _step(host, found)
    shown: dict[str, t.Any] = {"coverage": None}
    try:
        span = read_span(asked["start"], asked["end"], host.local_window.zone)
        shown = _covered(frame, pipeline, span, step)
    except errors.Refused as refused:
        wrong = wrong or refused.errors
    return frame.render(
        "coverage",
        pipeline=pipeline,
        key=new_key(host),
        asked={**step, **asked},
        kinds=KINDS,
        named=NAMED,
        wrong=wrong or {},
        interval_types=INTERVAL_TYPES,
        may_create=host.may("create", pipeline),
        backfills=[
            {**summary, "window": window_of(host, backfill, summary, frame.translate)}
            for backfill, summary in zip(found, summaries(host, found), strict=True)
        ],
        total=total,
        **shown,
    )


def _covered(
    frame: Frame, pipeline: str, span: tuple[datetime, datetime], step: Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """What the page shows of a span: its grid, and its pieces in words."""
    host = frame.host
    found = host.backfills.covered(pipeline, *span)
    zone = host.local_window.zone
    pieces = {
        kind: host.backfills.show_pieces(of_kind.page[:PAGE], zone)
        for kind, of_kind in found.pieces.items()
    }
    laid = _calendar(span, step, host.zone)
    amounts = [_amounts(one) for one in _spread(found, span, laid)]
    cells = {
        place: _cell(frame, pipeline, laid, place, some)
        for place, some in enumerate(amounts)
        if some
    }
    totals = Counter[str]()
    for some in amounts:
        totals.update(some)
    whole = (span[1] - span[0]).total_seconds()
    return {
        "coverage": pieces,
        "share": percent(totals["completed"] + totals["twice"], whole),
        "more": max(one.total for one in found.pieces.values()) > PAGE,
        "strip": [drawn(laid, cells, frame.translate, is_several=True)],
        "are_twice": bool(totals["twice"]),
        "legend": [(kind, percent(totals[kind], whole)) for kind in ORDER if totals[kind]],
    }


def _calendar(
    span: tuple[datetime, datetime], step: Mapping[str, t.Any], zone: tzinfo
) -> grid.Layout:
    """A cell for each step of the pipeline, or for each day where its steps are longer."""
    kind, units = step["interval_type"], step["interval_units"]
    if kind not in ("minute", "hour"):
        kind, units = "day", 1
    return grid.layout(span[0], span[1] - timedelta(microseconds=1), kind, units, zone)


def _spread(
    found: Coverage, span: tuple[datetime, datetime], laid: grid.Layout
) -> Iterator[dict[str, float]]:
    """For each cell, the seconds of each kind of piece, and of all of it."""
    spans = {
        kind: [(piece.start, piece.end) for piece in of_kind.page]
        for kind, of_kind in found.pieces.items()
    }
    spans["missing failed"] = shared(spans["failed"], spans["gaps"])
    spans["all"] = [span]
    seconds = {kind: spread(of_kind, laid.edges) for kind, of_kind in spans.items()}
    for place in range(len(laid)):
        yield {kind: of_kind[place] for kind, of_kind in seconds.items()}


def _amounts(seconds: Mapping[str, float]) -> dict[str, float]:
    """What a cell shows: each of its moments is of one kind."""
    failed = seconds["missing failed"]
    amounts = {
        "twice": seconds["overlaps"],
        "completed": seconds["covered"] - seconds["overlaps"],
        "running": seconds["all"] - seconds["covered"] - seconds["gaps"],
        "failed": failed,
        "missing": seconds["gaps"] - failed,
    }
    # Less than a microsecond comes from counting in seconds.
    return {kind: amount for kind, amount in amounts.items() if amount > 1e-6}


def _cell(
    frame: Frame, pipeline: str, laid: grid.Layout, place: int, amounts: Mapping[str, float]
) -> Cell:
    _ = frame.translate
    whole = sum(amounts.values())
    told = ", ".join(
        _(NAMED[kind])
        if len(amounts) == 1
        else _("{share} {what}", share=percent(amounts[kind], whole), what=_(NAMED[kind]))
        for kind in ORDER
        if kind in amounts
    )
    label = labelled(_, spanned(laid.name(place), _), told, None)
    start, end = (show(edge) for edge in laid.span(place))
    url = None
    if laid.level.seconds > INTERVAL_TYPES["hour"]:
        zoned: dict[str, t.Any] = {"start": f"{start}+00:00", "end": f"{end}+00:00"}
        url = url_for(".coverage", pipeline=pipeline, **zoned)
    kinds = [*amounts]
    return (
        Cell(kinds[0], label, url) if len(kinds) == 1 else Cell("some", label, url, parts(amounts))
    )


def _span(host: Host, found: list[t.Any]) -> dict[str, str]:
    """The span that is shown if nobody asks for another: that of the newest backfills."""
    ends = [
        local(columns.in_utc(moment, False), host.zone).date()
        for backfill in found
        for moment in (getattr(backfill, name, None) for name in WINDOW)
        if isinstance(moment, datetime)
    ]
    today = datetime.now(host.zone).date()
    first, last = (min(ends), max(ends)) if ends else (today - timedelta(days=_DAYS), today)
    # The end of the span is not a part of it.
    after = min(last, date.max - timedelta(days=1)) + timedelta(days=1)
    return {"start": str(first), "end": str(after)}


def _step(host: Host, found: list[t.Any]) -> dict[str, t.Any]:
    """The step of the newest backfill of the pipeline."""
    shown = host.backfills.by_attribute(host.backfills.show(found[0])) if found else {}
    kind, units = (shown.get(name) for name in _STEP)
    known = kind in INTERVAL_TYPES and isinstance(units, int) and units > 0
    return dict(zip(_STEP, (kind, units) if known else ("day", 1), strict=True))
