"""The routes of the runs of a backfill: a page of them, one whole, what people make of them, why."""

from __future__ import annotations

import typing as t
from functools import partial

from flask import request
from flask import Response
from marshmallow import fields
from marshmallow import Schema
from marshmallow import validate
from marshmallow import ValidationError

from .. import errors
from ..answering import json_response
from ..host import Host
from ..rules import lifecycle
from ..rules import names
from . import body
from . import query
from .paths import Paths
from .routes import page_of
from .routes import patient
from .routes import private


class RunChange(Schema):
    """What people may make of runs: try them again, cancel them, mark them as done."""

    status = fields.String(required=True, validate=validate.OneOf(lifecycle.MADE_OF_RUNS))


class RunRoutes:
    """The views over the runs of one host's backfills."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def add_to(self, paths: Paths) -> None:
        for path in ("/pipelines/<pipeline_uuid>/backfills", "/backfills"):
            runs = f"{path}/<backfill_id>/runs"
            paths.rule(f"{path}/<backfill_id>/explain", "explain", self.explain_view)
            paths.rule(runs, "list_runs", self.list_view)
            paths.rule(runs, "update_runs", self.update_some_view, ["PUT", "PATCH"])
            paths.rule(f"{runs}/<run_id>", "run", self.detail_view)
            paths.rule(f"{runs}/<run_id>", "update_run", self.update_view, ["PUT", "PATCH"])

    def list_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.host.allow_one("detail", pipeline_uuid, backfill_id)
        return self._list(pipeline_uuid, backfill_id, query.read(request, query.RunList))

    @patient
    def _list(self, pipeline_uuid: str, backfill_id: t.Any, asked: dict[str, t.Any]) -> Response:
        backfill = self.host.table.find(pipeline_uuid, backfill_id)
        runs, total = self.host.progress.page(
            backfill, asked["status"], asked["offset"], asked["limit"]
        )
        return page_of(asked, total, runs=self.host.backfills.show_runs(backfill, runs))

    def explain_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.host.allow_one("detail", pipeline_uuid, backfill_id)
        asked = query.read(request, query.Explain, self.host.wire_zone)
        return self._explain(pipeline_uuid, backfill_id, asked)

    @patient
    def _explain(self, pipeline_uuid: str, backfill_id: t.Any, asked: dict[str, t.Any]) -> Response:
        backfill = self.host.table.find(pipeline_uuid, backfill_id)
        why = self.host.explaining.explain(
            backfill,
            asked["key"],
            asked["date"],
            others=partial(self.host.may, "list", str(backfill.pipeline_uuid)),
        )
        return private(json_response(explain={"why": [one._asdict() for one in why]}))

    def detail_view(
        self, backfill_id: t.Any, run_id: t.Any, pipeline_uuid: str | None = None
    ) -> Response:
        pipeline_uuid = self.host.allow_one("detail", pipeline_uuid, backfill_id)
        query.read(request, query.Query)
        return self._detail(pipeline_uuid, backfill_id, run_id)

    @patient
    def _detail(self, pipeline_uuid: str, backfill_id: t.Any, run_id: t.Any) -> Response:
        backfill = self.host.table.find(pipeline_uuid, backfill_id)
        run = self.host.progress.find(backfill, self.host.run_table.known(run_id))
        return private(json_response(run=self.host.backfills.show_run(backfill, run)))

    def update_view(
        self, backfill_id: t.Any, run_id: t.Any, pipeline_uuid: str | None = None
    ) -> Response:
        pipeline_uuid, status, asked = self._read(
            "run", query.RunUpdate, pipeline_uuid, backfill_id
        )
        its_own = self.host.run_table.key == self.host.run_table.known(run_id)
        shown = self.host.changed_runs.set_status(
            pipeline_uuid,
            backfill_id,
            its_own,
            status,
            self.host.backfills.show_run,
            keep=not asked["dry_run"],
        )
        return private(json_response(run=shown))

    def update_some_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid, status, asked = self._read(
            "runs", query.RunsUpdate, pipeline_uuid, backfill_id
        )
        count = self.host.changed_runs.set_status_of_all(
            pipeline_uuid, backfill_id, asked["status"], status, keep=not asked["dry_run"]
        )
        return private(json_response(runs={"status": status}, metadata={"count": count}))

    def _read(
        self,
        name: str,
        parameters: type[query.Query],
        pipeline_uuid: str | None,
        backfill_id: t.Any,
    ) -> tuple[str, str, dict[str, t.Any]]:
        """The pipeline, the status that was sent and the parameters of a change."""
        body.receive(request)
        pipeline_uuid = self.host.allow_one("update", pipeline_uuid, backfill_id)
        sent, asked = body.read(request, name), query.read(request, parameters)
        try:
            return pipeline_uuid, RunChange().load(sent)["status"], asked
        except ValidationError as error:
            messages = error.normalized_messages()  # type: ignore[no-untyped-call]
        told = names.unknown([key for key in messages if key != "status"], ["status"])
        raise errors.Refused(
            {errors.text(key): found for key, found in {**messages, **told}.items()}
        )
