"""The route of the history of a backfill: a page of its events."""

from __future__ import annotations

import typing as t

from flask import request
from flask import Response

from ..host import Host
from . import query
from .paths import Paths
from .routes import page_of
from .routes import patient


class HistoryRoutes:
    """The view over the events of one host's backfills."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def add_to(self, paths: Paths) -> None:
        for path in ("/pipelines/<pipeline_uuid>/backfills", "/backfills"):
            paths.rule(f"{path}/<backfill_id>/history", "history", self.list_view)

    def list_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.host.allow_one("detail", pipeline_uuid, backfill_id)
        return self._list(pipeline_uuid, backfill_id, query.read(request, query.Page))

    @patient
    def _list(self, pipeline_uuid: str, backfill_id: t.Any, asked: dict[str, t.Any]) -> Response:
        backfill = self.host.table.find(pipeline_uuid, backfill_id)
        shown, total = self.host.backfills.history(backfill, asked["offset"], asked["limit"])
        return page_of(asked, total, history=shown)
