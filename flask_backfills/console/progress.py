"""How far one backfill is, for its page: figures, actions, its grid, and why nothing moves."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

from ..changes import actions
from ..host import Host
from ..rules.lifecycle import SHOWN
from ..rules.lifecycle import STATUSES
from ..rules.plan import REPROCESS
from ..rules.reasons import Reason
from ..rules.settings import reprocess_of
from ..rules.spans import took
from ..tables.settings import settings_of
from . import timeline
from .failures import failures_of
from .frame import ASKS
from .frame import Frame
from .links import link
from .summaries import ENDED
from .summaries import summaries
from .summaries import window_of
from .times import moment_of

#: The action that a state asks for most.
FIRST = {None: "start", "initial": "pause", "running": "pause", "failed": "retry"}

#: Of a backfill whose window was edited since it has failed.
DIFFER = "The runs differ from those of the window. Retry and Start first show what they would run."

#: Reasons that are told of a backfill that moves, too.
ALWAYS = ("canary", "canary_ended", "lease_over")

#: How far back the runs a minute are counted, and how short this may be at the start.
LATELY, SHORTEST = timedelta(minutes=5), timedelta(seconds=5)

#: Milliseconds between two looks at a backfill: at least, at most, and where it has many runs.
#: One that takes long is looked at so often until it ends.
SOON, LATE, MANY, LOOKS = 1_500, 15_000, 5_000, 300

#: What a worker is started by.
COMMAND = "flask backfills work"


def shown(frame: Frame, backfill: t.Any) -> dict[str, t.Any]:
    """What of a backfill moves while it is looked at."""
    host = frame.host
    progress = host.backfills.progress
    pipeline_uuid, key = frame.name_of(backfill)
    [summary] = summaries(host, [backfill])
    statuses = dict(summary["statuses"])
    may = {action: host.may(action, pipeline_uuid) for action in ("update", "delete", "create")}
    possible = actions.possible(host.backfills, backfill)
    possible = [action for action in possible if may[ASKS.get(action, "update")]]
    ended_at = _moment(backfill, summary, ENDED.get(summary["status"], ""))
    first = "resume" if summary["paused"] else FIRST.get(summary["status"])
    return {
        "backfill": summary,
        "strip": timeline.of_runs(host, backfill, frame.translate) if progress else None,
        "failures": failures_of(frame, backfill) if statuses.get("failed") else None,
        "window": window_of(host, backfill, summary, frame.translate),
        "to_runs": lambda status: link("runs", backfill_id=key, status=status),
        "why": _why(frame, backfill, summary["active"]),
        "hints": _hints(frame, backfill, statuses, possible),
        "command": COMMAND,
        "may_edit": may["update"],
        "actions": sorted(possible, key=lambda one: one != first),
        "primary": first,
        "duplicate": link("create", **{"from": key}) if may["create"] else None,
        "rate": _rate(frame, backfill, summary) if summary["active"] else None,
        "ended_at": ended_at,
        "took": _took(frame, _moment(backfill, summary, "started_at"), ended_at),
        "every": every(summary),
    }


def _hints(
    frame: Frame, backfill: t.Any, statuses: dict[str, int], possible: list[str]
) -> list[str]:
    """What a retry and a start would run, side by side, for a backfill that has failed."""
    if frame.host.run_model is None or not {"retry", "start"} <= {*possible}:
        return []
    _ = frame.translate
    which = REPROCESS[reprocess_of(settings_of(backfill))]
    again = {word: statuses[word] for word in STATUSES if word in which}
    if sum(statuses.values()) and not again:
        return [_("Retry and Start run nothing again: settings.reprocess is none.")]
    if not any(again.values()):
        return []
    if not _stand_as_planned(frame.host, backfill):
        return [_(DIFFER)]
    each = ", ".join(
        _("{count} {what}", count=f"{count:,}", what=_(SHOWN[word]))
        for word, count in again.items()
        if count
    )
    hints = [_("Retry runs again: {runs}.", runs=each)]
    if statuses["completed"] and "completed" not in again:
        count = f"{sum(statuses.values()):,}"
        return [*hints, _("Start does the same, or runs all {count} runs again.", count=count)]
    return [*hints, _("Start does the same.")]


def _stand_as_planned(host: Host, backfill: t.Any) -> bool:
    """Whether the runs are those that a plan would ask for: numbers of them are true then.

    A window may have been edited since the backfill has failed. What a generator gives is not
    asked for: that may take long.
    """
    expansion, planned = host.backfills.expansion, host.backfills.planned
    values = expansion.values(backfill)
    if planned is None or values["block_uuid"] is not None:
        return True
    window = expansion.window(values)
    if window is None or not (count := window.count()):
        return False
    statuses, *ends = planned.summary(backfill)
    return statuses.total() == count and ends == [window.start, window.date(count - 1)]


def _why(frame: Frame, backfill: t.Any, active: bool) -> list[Reason]:
    """Why nothing of an active backfill moves; of one that moves, only what is unusual."""
    if frame.host.run_model is None or not active:
        return []
    why = frame.host.explaining.explain(backfill)
    if any(one.code == "moving" for one in why):
        return [one for one in why if one.code in ALWAYS]
    return why


def _rate(frame: Frame, backfill: t.Any, summary: dict[str, t.Any]) -> str | None:
    """How many runs a minute have ended lately; ``None`` where that is not known."""
    progress = frame.host.backfills.progress
    if progress is None:
        return None
    now = progress.runs.now()
    started = _moment(backfill, summary, "started_at")
    since = now - LATELY if started is None else max(now - LATELY, started)
    since = min(since, now - SHORTEST)
    ended = progress.count_ended(backfill, since)
    if ended is None:
        return None
    rate = ended / ((now - since) / timedelta(minutes=1))
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


def _moment(backfill: t.Any, summary: dict[str, t.Any], name: str) -> datetime | None:
    """A moment that a backfill has and shows, in UTC."""
    at = getattr(backfill, name, None) if summary.get(name) else None
    return moment_of(at).astimezone(timezone.utc) if isinstance(at, datetime) else None


def _took(frame: Frame, started: datetime | None, ended: datetime | None) -> str | None:
    """How long a backfill that has ended took."""
    if started is None or ended is None or ended < started:
        return None
    return took((ended - started).total_seconds(), frame.translate)


def every(summary: dict[str, t.Any]) -> int:
    """After how many milliseconds a page of a backfill looks again."""
    seconds = ((summary["forecast"] or {}).get("seconds") or {}).get("p50", 0.0)
    least = LATE // 3 if summary["total"] > MANY else SOON
    return int(min(max(1000 * seconds / LOOKS, least), LATE))
