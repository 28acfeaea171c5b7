"""The list of backfills: filtered, searched and sorted in the database, a page at a time."""

from __future__ import annotations

import typing as t
from datetime import datetime

from flask import request
from flask import url_for
from flask.typing import ResponseReturnValue

from ..host import Host
from ..rules.lifecycle import STATUSES
from ..tables import lists
from . import times
from .access import listable
from .frame import ASKS
from .frame import Frame
from .links import covers
from .summaries import ENDED
from .summaries import summaries
from .summaries import window_of

#: How many backfills a page of the list shows.
PAGE = 20

#: Of how many backfills a page says how long they will take: each costs two statements.
FORECASTS = 5

#: The columns by which the list can be sorted, each with its attribute.
SORTS = {
    "name": "name",
    "pipeline": "pipeline_uuid",
    "status": "status",
    "start": "start_datetime",
    "created": "created_at",
}

#: What the list can be filtered by, beside the statuses.
BESIDE = ("active", "not-started")


class Asked(t.NamedTuple):
    """What is asked of the list, as the query has it. An empty text asks for nothing."""

    pipeline: str = ""
    status: str = ""
    q: str = ""
    sort: str = ""
    page: int = 1

    @property
    def is_filtered(self) -> bool:
        return bool(self.pipeline or self.status or self.q)

    @property
    def query(self) -> dict[str, t.Any]:
        """The query without what asks for nothing, and without the page."""
        return {key: value for key, value in self._asdict().items() if value and key != "page"}


def asked() -> Asked:
    """What this request asks of the list."""
    args = request.args
    texts = {key: args.get(key, "").strip() for key in ("status", "q", "sort")}
    return Asked(args.get("pipeline", ""), page=max(args.get("page", 1, int), 1), **texts)


def list_view(frame: Frame) -> ResponseReturnValue:
    host, want = frame.host, asked()
    pipelines = listable(host)
    chosen = [one for one in pipelines if one == want.pipeline] if want.pipeline else pipelines
    criteria = [lists.has_in_name(host.table, want.q)] if want.q else []
    if want.status == "active":
        criteria.append(lists.is_active(host.table, host.schema))
    elif want.status == "not-started":
        criteria.append(lists.is_not_started(host.table))
    status = want.status if want.status in STATUSES else None
    offset = min((want.page - 1) * PAGE, 2**31)
    order = _order(want.sort)
    found, total = host.backfills.page(chosen, status, offset, PAGE, criteria=criteria, order=order)
    rows = _rows(frame, found)
    return frame.render(
        "list",
        rows=rows,
        chooses=any(row["can_change"] for row in rows),
        asked=want,
        to=_link_to(want),
        sort_links=_sort_links(host, want.sort),
        pipelines=pipelines,
        is_unknown=bool(want.pipeline) and not chosen and not _is_known(host, want.pipeline),
        statuses=(*STATUSES, *BESIDE),
        can_search=lists.can_search(host.table),
        covers=covers(host),
        has_runs=host.run_model is not None,
        may_create=_may_create(host, want.pipeline, pipelines),
        page=want.page,
        pages=max(-(-total // PAGE), 1),
        total=total,
    )


def _rows(frame: Frame, found: list[t.Any]) -> list[dict[str, t.Any]]:
    """What the table shows of backfills."""
    host, rows = frame.host, []
    may: dict[str, bool] = {}
    for backfill, summary in zip(found, summaries(host, found, FORECASTS), strict=True):
        pipeline = summary["pipeline"]
        if pipeline not in may:
            may[pipeline] = host.may("update", pipeline) or host.may(ASKS["delete"], pipeline)
        row = {
            "can_change": may[pipeline],
            "window": window_of(host, backfill, summary, frame.translate),
            "created": _moment(summary["created_at"]),
            "finished": _moment(summary.get(ENDED.get(summary["status"], ""))),
        }
        rows.append({**summary, **row})
    return rows


def _moment(shown: t.Any) -> datetime | None:
    """A moment as a host's schema shows it, which may be of another kind."""
    try:
        return times.moment_of(shown) if shown else None
    except (TypeError, ValueError):
        return None


def _order(sort: str) -> lists.Order | None:
    attribute = SORTS.get(sort.removeprefix("-"))
    return (attribute and lists.Order(attribute, sort.startswith("-"))) or None


def _sort_links(host: Host, sort: str) -> dict[str, str]:
    """What a click on the heading of each column asks for: the other direction next time.

    The newest backfills come first at first; names begin with the first letter.
    """
    found = {}
    for word, attribute in SORTS.items():
        if lists.can_sort(host.table, attribute):
            first, other = (
                (f"-{word}", word) if word in ("start", "created") else (word, f"-{word}")
            )
            found[word] = other if sort == first else first
    return found


def _link_to(want: Asked) -> t.Callable[..., str]:
    """A function that gives the URL of the same list, less what is changed."""

    def to(page: int = 1, **changed: t.Any) -> str:
        query = {**want.query, **changed, "page": page if page > 1 else None}
        return url_for(".list", **{key: value for key, value in query.items() if value})

    return to


def _is_known(host: Host, pipeline: str) -> bool:
    """Whether a pipeline without backfills is one that the user may list."""
    if host.pipelines is None or not host.may("list", pipeline):
        return False
    return pipeline in {str(one) for one in host.pipelines()}


def _may_create(host: Host, pipeline: str, pipelines: list[str]) -> bool:
    """Whether there is something that the user may create, as far as the list knows."""
    if pipeline:
        return host.may("create", pipeline)
    if host.pipelines is not None:
        pipelines = [str(one) for one in host.pipelines()]
    return any(host.may("create", one) for one in pipelines or [""])
