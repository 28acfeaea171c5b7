"""The page of all runs of a backfill, and the page that changes many of them."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timezone
from functools import partial

from flask import request
from flask import url_for
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError

from .. import errors
from ..auth import require_function
from ..host import Host
from ..rules.lifecycle import STATUSES
from ..rules.sight import seen
from ..rules.spans import between
from ..runs.failures import alike
from ..runs.listing import Asked
from ..runs.listing import HISTORY
from ..tables.zoned import moment_field
from .failures import failure_of
from .failures import failures_of
from .frame import Frame
from .progress import every
from .run import ask_view
from .run import change_view
from .run import MAKES
from .run import run_view
from .run import RunURL
from .run import told_of
from .summaries import summaries

#: How many runs a page shows.
PAGE = 50

#: What is offered to be made of all runs of a status.
BULK = {
    "failed": ("retry", "done"),
    "cancelled": ("retry",),
    "completed": ("retry",),
    "initial": ("cancel",),
    "running": ("cancel",),
}


def add_runs(frame: Frame, run_url: RunURL | None) -> None:
    """Add the pages of runs to a console."""
    if run_url is not None:
        require_function(run_url, "run_url", "run")
    runs, makes = "/<backfill_id>/runs", f"<any({', '.join(MAKES)}):make>"
    frame.shows(runs, "runs", partial(runs_view, frame, run_url))
    frame.shows(f"{runs}/<run_id>", "run", partial(run_view, frame, run_url))
    frame.shows(f"{runs}/<run_id>/{makes}", "ask_run", partial(ask_view, frame))
    frame.changes(f"{runs}/<run_id>/{makes}", "change_run", partial(change_view, frame))
    # Not below the runs, of which one may have any word as its key.
    several = f"/<backfill_id>/change-runs/{makes}"
    frame.shows(several, "ask_runs", partial(ask_runs_view, frame))
    frame.changes(several, "change_runs", partial(change_runs_view, frame))
    # The same views, for the part of their pages that moves.
    live = "/<backfill_id>/live/runs"
    many, one = partial(runs_view, live=True), partial(run_view, live=True)
    frame.add_url_rule(live, "live_runs", frame.reads(partial(many, frame, run_url)))
    frame.add_url_rule(f"{live}/<run_id>", "live_run", frame.reads(partial(one, frame, run_url)))


class Filter(t.NamedTuple):
    """What the query of a page asks for."""

    #: As it stands in the URL.
    query: dict[str, t.Any]
    status: str | None
    since: datetime | None
    until: datetime | None
    #: The name of a failure, whose runs are asked for alone.
    failure: str | None

    @property
    def asked(self) -> Asked:
        """The same, but for the failure."""
        return Asked(self.status, self.since, self.until)


def read_filter() -> Filter:
    """Read the filter from the query of the request. Dates without an offset are in UTC.

    :raises flask_backfills.errors.QueryRefused: for what is no date.
    """
    names = ("status", "since", "until", "failure")
    query: dict[str, t.Any] = {name: request.args[name] for name in names if request.args.get(name)}
    if query.get("status") not in (*STATUSES, HISTORY):
        query.pop("status", None)
    if "failure" in query:
        query["status"] = "failed"
    ends: dict[str, datetime] = {}
    wrong: errors.Errors = {}
    for name in {"since", "until"} & query.keys():
        try:
            ends[name] = moment_field(None).deserialize(query[name])
        except ValidationError as error:
            wrong[name] = error.messages
    if wrong:
        raise errors.QueryRefused(wrong)
    found = (query.get("status"), ends.get("since"), ends.get("until"), query.get("failure"))
    return Filter(query, *found)


def runs_view(
    frame: Frame, run_url: RunURL | None, backfill_id: t.Any, *, live: bool = False
) -> ResponseReturnValue:
    """The runs that the query asks for.

    :param live: to show only what moves while the page is looked at.
    """
    host = frame.host
    backfill = frame.find("detail", backfill_id)
    chosen = read_filter()
    listing, asked = host.listing, chosen.asked
    counts = listing.counts(backfill, asked)
    total = counts[asked.status] if asked.status else counts.total()
    failure = None
    if chosen.failure is not None:
        failure = failure_of(host, backfill, chosen.failure)
        asked = asked._replace(errors=failure.errors if failure else ())
    criteria = listing.criteria(backfill, asked)
    if failure is not None:
        total = listing.count(criteria)
    sort, descending = _sort(host)
    page = max(request.args.get("page", 1, int), 1)
    found = listing.page(criteria, sort, descending, min((page - 1) * PAGE, 2**31), PAGE)
    order: dict[str, t.Any] = {"sort": request.args["sort"]} if "sort" in request.args else {}

    def to(**changed: t.Any) -> str:
        """The URL of this page with another filter or another order, on its first page."""
        return url_for(".runs", backfill_id=backfill_id, **{**chosen.query, **order, **changed})

    shows_failures = counts["failed"] and chosen.status in (None, "failed")
    shows_failures = shows_failures and not (chosen.since or chosen.until or chosen.failure)
    may = host.may("update", str(backfill.pipeline_uuid))
    # Whether the runs of a failure can be changed is seen when that is asked for.
    makes = BULK.get(chosen.status or "", ()) if may and total and failure is None else ()
    [summary] = summaries(host, [backfill])
    return frame.render(
        "live_runs" if live else "runs",
        backfill=summary,
        every=every(summary),
        url=url_for(".live_runs", backfill_id=backfill_id, **chosen.query, **order, page=page),
        runs=[told_of(frame, backfill, run, run_url) for run in found],
        has_logs=run_url is not None,
        counts=[(word, counts[word]) for word in (*STATUSES, HISTORY)],
        all=counts.total(),
        status=chosen.status,
        narrowed=narrowed(frame, chosen),
        failure=failure and seen(failure.message),
        failures=failures_of(frame, backfill, 20) if shows_failures else None,
        makes=makes,
        may_edit=may,
        query=chosen.query,
        total=total,
        page=page,
        pages=max(-(-total // PAGE), 1),
        sort=sort,
        sorts=listing.sorts,
        descending=descending,
        to=to,
        to_page=lambda number: to(page=number),
    )


def ask_runs_view(frame: Frame, backfill_id: t.Any, make: str) -> ResponseReturnValue:
    """Ask before all runs of a filter are changed, and say how many they are."""
    return _ask(frame, frame.find("update", backfill_id), make)


def change_runs_view(frame: Frame, backfill: t.Any, action: str, make: str) -> ResponseReturnValue:
    """Change all runs of a filter, if they are as many as the user was told."""
    of, chosen = frame.name_of(backfill), read_filter()
    try:
        # Without a number, the user has not seen what will happen.
        expected = request.form.get("count", -1, int)
        _change(frame.host, of, chosen, make, expected=expected)
    except errors.PlanMismatch:
        notice = "The number of runs has changed since you saw it. Nothing was changed."
        backfill = frame.host.backfills.find(*of)
        return _ask(frame, backfill, make, frame.translate(notice)), 412
    return frame.back(of, f"runs-{make}", "runs")


def _ask(frame: Frame, backfill: t.Any, make: str, notice: str | None = None) -> str:
    host, of, chosen = frame.host, frame.name_of(backfill), read_filter()
    count = _change(host, of, chosen, make, keep=False)
    # What was rolled back has to be read again.
    backfill = host.backfills.find(*of)
    failure = chosen.failure and failure_of(host, backfill, chosen.failure)
    return frame.render(
        "change_runs",
        backfill=summaries(host, [backfill], forecasts=0)[0],
        make=make,
        run=None,
        count=count,
        failure=failure and seen(failure.message),
        narrowed=narrowed(frame, chosen),
        follows=None,
        notice=notice,
        back=url_for(".runs", backfill_id=of[1], **chosen.query),
        status=chosen.status,
    )


def _change(host: Host, of: tuple[str, t.Any], chosen: Filter, make: str, **options: t.Any) -> int:
    """Change the runs of a filter, or see how many they would be."""
    if chosen.status is None or chosen.status == HISTORY:
        told = [f"Must be one of: {', '.join(STATUSES)}."]
        raise errors.QueryRefused({"status": told})
    if chosen.failure is not None:
        options["chosen"] = partial(_alike, host, chosen.failure)
    return host.changed_runs.set_status_of_all(
        *of,
        chosen.status,
        MAKES[make],
        criteria=host.listing.dates(chosen.asked),
        **options,
    )


def _alike(host: Host, failure: str, backfill: t.Any) -> list[t.Any]:
    return alike(host.run_table, backfill, failure)


def narrowed(frame: Frame, chosen: Filter) -> str | None:
    """The dates that a filter asks for, as people read them."""
    if chosen.since is None and chosen.until is None:
        return None
    zone, _ = frame.host.local_window.zone or timezone.utc, frame.translate
    since, until = chosen.since or chosen.until, chosen.until or chosen.since
    told = between(t.cast(datetime, since), t.cast(datetime, until), zone, _)
    if chosen.since and chosen.until:
        return told
    return _("from {date}", date=told) if chosen.since else _("to {date}", date=told)


def _sort(host: Host) -> tuple[str, bool]:
    sent = request.args.get("sort", "")
    name = sent.removeprefix("-")
    return (name, sent.startswith("-")) if name in host.listing.sorts else ("date", False)
