"""Links from a page to others: to runs, and to the page of a pipeline, if there is one."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from datetime import datetime
from functools import cache

from flask import url_for

from ..host import Host
from ..runs.coverage import has_intervals


def link(name: str, **values: t.Any) -> str:
    """The URL of a page. Moments are naive and in UTC."""
    told: dict[str, t.Any] = {
        k: v.isoformat() if isinstance(v, datetime) else v for k, v in values.items()
    }
    return url_for(f".{name}", **told)


def covers(host: Host) -> bool:
    """Whether the pages of pipelines exist: without runs that have intervals they don't."""
    return host.run_model is not None and has_intervals(host.run_table)


def readable(host: Host) -> Callable[[str], bool]:
    """A function that says whether the user may open the backfills of a pipeline.

    It asks once for each pipeline, however many of its backfills a page names.
    """
    return cache(lambda pipeline: host.may("detail", pipeline))


def pipeline_link(host: Host, pipeline_uuid: t.Any) -> str:
    """The page of a pipeline; the list of its backfills where there is none for the user."""
    pipeline = str(pipeline_uuid)
    shown = covers(host) and host.may("list", pipeline)
    return url_for(".coverage" if shown else ".list", pipeline=pipeline)
