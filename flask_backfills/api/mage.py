"""The paths that the table of runs in Mage's own web interface asks, over the run model."""

from __future__ import annotations

import typing as t

from flask import request
from flask import Response
from marshmallow import EXCLUDE
from marshmallow import fields
from marshmallow import Schema
from marshmallow import validate
from marshmallow import ValidationError

from .. import errors
from ..answering import json_response
from ..host import Host
from ..tables.fields import UTCDateTime
from . import body
from . import query
from .paths import Paths
from .routes import patient

#: What a run is shown with there, from the attributes of our own.
SHOWN = ("id", "status", "execution_date", "started_at", "completed_at", "variables")


class Cancelling(Schema):
    """What is sent to change a run; its ``id`` is in the path too."""

    id = fields.Raw()
    status = fields.String(required=True, validate=validate.OneOf(["cancelled"]))


class Retrying(Schema):
    """What is sent to try a date again, and more, which is as the interface was shown it."""

    class Meta:
        unknown = EXCLUDE

    backfill_id = fields.Raw(required=True)
    execution_date = UTCDateTime(required=True)


class MageRoutes:
    """The views of Mage's paths for the runs of one host's backfills."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def add_to(self, paths: Paths) -> None:
        rule = paths.rule
        run = "/pipeline_runs/<run_id>"
        schedule = "/pipeline_schedules/<backfill_id>/pipeline_runs"
        rule("/pipeline_runs", "mage_list", self.list_view)
        rule(run, "mage_update", self.update_view, ["PUT"])
        rule(schedule, "mage_create", self.create_view, ["POST"])

    def list_view(self) -> Response:
        asked = query.read(request, query.MageRuns)
        backfill_id = self._key_of_backfill(asked["backfill_id"])
        pipeline_uuid = self.host.allow_one("detail", None, backfill_id)
        return self._list(pipeline_uuid, backfill_id, asked)

    @patient
    def _list(self, pipeline_uuid: str, backfill_id: t.Any, asked: dict[str, t.Any]) -> Response:
        backfill = self.host.table.find(pipeline_uuid, backfill_id)
        # A run has one row, whose status is that of its newest attempt.
        status = "failed" if asked["status"] == "last_run_failed" else asked["status"]
        page = asked["offset"], asked["limit"]
        runs, total = self.host.progress.page(backfill, status, *page, newest_first=True)
        more = asked["offset"] + asked["limit"] < total
        shown = self._show(backfill, runs)
        return json_response(pipeline_runs=shown, metadata={"count": total, "next": more})

    def update_view(self, run_id: t.Any) -> Response:
        body.receive(request)
        known = self.host.run_table.known(run_id)
        backfill_id = None if known is None else self.host.progress.backfill_of(known)
        pipeline_uuid = self.host.allow_one("update", None, backfill_id)
        sent = _loaded(Cancelling(), body.read(request, "pipeline_run"))
        if str(sent.get("id", run_id)) != run_id:
            raise errors.Refused({"id": ["Must be that of the path."]})
        its_own = self.host.run_table.key == known
        shown = self.host.changed_runs.set_status(
            pipeline_uuid, backfill_id, its_own, "cancelled", self._show_one, unless_retried=True
        )
        return json_response(pipeline_run=shown)

    def create_view(self, backfill_id: t.Any) -> Response:
        body.receive(request)
        pipeline_uuid = self.host.allow_one("update", None, backfill_id)
        sent = _loaded(Retrying(), body.read(request, "pipeline_run"))
        if str(self._key_of_backfill(sent["backfill_id"])) != backfill_id:
            raise errors.Refused({"backfill_id": ["Must be that of the path."]})
        date = self.host.run_table.between(sent["execution_date"], sent["execution_date"])
        shown = self.host.changed_runs.set_status(
            pipeline_uuid, backfill_id, date, "initial", self._show_one, running_too=True
        )
        return json_response(pipeline_run=shown)

    def _show_one(self, backfill: t.Any, run: t.Any) -> dict[str, t.Any]:
        [shown] = self._show(backfill, [run])
        return shown

    def _show(self, backfill: t.Any, runs: list[t.Any]) -> list[dict[str, t.Any]]:
        of_backfill = self.host.backfills.by_attribute(self.host.backfills.show(backfill))
        more = {
            "backfill_id": of_backfill["id"],
            "pipeline_uuid": of_backfill["pipeline_uuid"],
            # The interface needs one; the paths that it makes of it are ours.
            "pipeline_schedule_id": of_backfill["id"],
            "block_runs_count": 0,
            "completed_block_runs_count": 0,
        }
        shown = self.host.backfills.show_runs(backfill, runs)
        return [{**{name: one[name] for name in SHOWN}, **more} for one in shown]

    def _key_of_backfill(self, sent: t.Any) -> t.Any:
        try:
            return self.host.schema.fields["id"].deserialize(sent)
        except ValidationError:
            raise errors.NotFound() from None


def _loaded(schema: Schema, sent: dict[str, t.Any]) -> dict[str, t.Any]:
    try:
        return t.cast("dict[str, t.Any]", schema.load(sent))
    except ValidationError as error:
        raise errors.Refused(error.normalized_messages()) from None  # type: ignore[no-untyped-call]
