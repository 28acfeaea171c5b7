"""The page of one run: what it was given, how it went, why it waits; and what people make of it."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from datetime import datetime
from datetime import timezone

from flask import url_for
from flask.typing import ResponseReturnValue

from ..host import Host
from ..rules import spans
from ..rules.failures import first_line
from ..rules.lifecycle import RUN_TRANSITIONS
from ..rules.urls import link
from ..tables import columns
from .frame import Frame
from .progress import every
from .summaries import summaries

#: What people make of runs: by the word in the path, the status.
MAKES = {"retry": "initial", "done": "completed", "cancel": "cancelled"}

#: A function from a run to the URL of its logs.
RunURL = Callable[[t.Any], str | None]

#: Reasons that say no more than the page does.
_SAID = {"run_completed", "run_failed", "run_cancelled", "run_running"}

#: How many metrics a row of a table has.
_METRICS = 3


def run_view(
    frame: Frame, run_url: RunURL | None, backfill_id: t.Any, run_id: t.Any, *, live: bool = False
) -> ResponseReturnValue:
    """One run.

    :param live: to show only what moves while the page is looked at.
    """
    host = frame.host
    backfill, run = _find(frame, "detail", backfill_id, run_id)
    before, after = host.listing.beside(backfill, run)
    why = host.explaining.explain(backfill, key=run.key)
    shown = told_of(frame, backfill, run, run_url)
    may = host.may("update", str(backfill.pipeline_uuid))
    [summary] = summaries(host, [backfill])
    return frame.render(
        "live_run" if live else "run",
        backfill=summary,
        every=every(summary),
        run=shown,
        before=before,
        after=after,
        why=[one for one in why if one.code not in _SAID],
        makes=possible(shown) if may else [],
    )


def ask_view(frame: Frame, backfill_id: t.Any, run_id: t.Any, make: str) -> ResponseReturnValue:
    """Ask before a run is changed, and say what follows for its backfill."""
    host = frame.host
    backfill, run = _find(frame, "update", backfill_id, run_id)
    follows = host.changed_runs.set_status(
        *frame.name_of(backfill), _only(host, run), MAKES[make], _status_of(host), keep=False
    )
    # What was rolled back has to be read again.
    backfill, run = _find(frame, "update", backfill_id, run_id)
    shown = summaries(host, [backfill], forecasts=0)[0]
    return frame.render(
        "change_runs",
        backfill=shown,
        make=make,
        run=told_of(frame, backfill, run, None),
        count=1,
        failure=None,
        narrowed=None,
        follows=follows if follows != shown["status"] else None,
        notice=None,
        back=url_for(".run", backfill_id=backfill_id, run_id=run_id),
    )


def change_view(
    frame: Frame, backfill: t.Any, action: str, run_id: t.Any, make: str
) -> ResponseReturnValue:
    """Change a run, and go back to its page."""
    host, of = frame.host, frame.name_of(backfill)
    run = host.progress.find(backfill, host.run_table.known(run_id))
    host.changed_runs.set_status(*of, _only(host, run), MAKES[make], _status_of(host))
    return frame.back(of, f"run-{make}", "run", run_id=run_id)


def told_of(frame: Frame, backfill: t.Any, run: t.Any, run_url: RunURL | None) -> dict[str, t.Any]:
    """What the pages show of a run: its attributes as in the API, and what is made of them."""
    host, _ = frame.host, frame.translate
    runs = host.run_table
    shown = host.backfills.show_run(backfill, run)
    now = columns.in_utc(runs.now(), False)
    moments = {name: _moment(runs, run, name) for name in _MOMENTS}
    date, end = moments["execution_date"], moments["interval_end_datetime"]
    began, ended = moments["started_at"], moments["completed_at"]
    is_running = shown["status"] == "running"
    until = now if is_running else ended
    zone = host.local_window.zone or timezone.utc
    span = None if date is None else spans.span(date, end, zone, _)
    # The key of most runs is their date.
    says_more = date is None or run.key != date.isoformat()
    return {
        **shown,
        **moments,
        "id": runs.key_of(run),
        "span": span,
        "name": run.key if says_more else span,
        "is_named": says_more,
        "is_history": runs.knows_history and not run.wanted,
        "took": spans.took((until - began).total_seconds(), _) if began and until else None,
        "is_running": is_running,
        "line": first_line(shown["error"] or ""),
        "numbers": numbers_of(shown["metrics"]),
        "pretty": _pretty(shown["variables"]),
        "tries": getattr(run, "tries", None) if "tries" in runs.columns else None,
        "losses": getattr(run, "losses", None) if "losses" in runs.columns else None,
        "logs": link(run_url(run)) if run_url is not None else None,
    }


#: What a run has of moments, where its model maps them.
_MOMENTS = (
    "execution_date",
    "interval_end_datetime",
    "started_at",
    "completed_at",
    "queued_at",
    "heartbeat_at",
    "available_at",
)


def possible(shown: Mapping[str, t.Any]) -> list[str]:
    """What may be made of a run in its present state."""
    allowed = () if shown["is_history"] else RUN_TRANSITIONS.get(shown["status"], ())
    return [make for make, status in MAKES.items() if status in allowed]


def numbers_of(metrics: t.Any) -> list[tuple[str, str]]:
    """The names and values of metrics, as people read them.

    >>> numbers_of({"rows": 1234567, "by": {"kind": [1]}})
    [('rows', '1,234,567'), ('by', '{"kind": [1]}')]
    """
    found = metrics if isinstance(metrics, dict) else {}
    return [(str(name), _number(value)) for name, value in found.items()]


def _number(value: t.Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _pretty(variables: t.Any) -> str | None:
    if variables is None:
        return None
    return json.dumps(variables, indent=2, ensure_ascii=False, default=str)


def _moment(runs: t.Any, run: t.Any, name: str) -> datetime | None:
    """A moment of a run, naive and in UTC."""
    at = getattr(run, name) if name in runs.columns else None
    return columns.in_utc(at, False) if isinstance(at, datetime) else None


def _find(frame: Frame, action: str, backfill_id: t.Any, run_id: t.Any) -> tuple[t.Any, t.Any]:
    backfill = frame.find(action, backfill_id)
    return backfill, frame.host.progress.find(backfill, frame.host.run_table.known(run_id))


def _only(host: Host, run: t.Any) -> t.Any:
    return host.run_table.key == host.run_table.key_of(run)


def _status_of(host: Host) -> Callable[[t.Any, t.Any], str | None]:
    return lambda backfill, run: host.rollup.status_of(backfill)
