"""The routes: HTTP in, HTTP out; each view asks who it is, what was sent, does it, and answers."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from flask import Blueprint
from flask import jsonify
from flask import request
from flask import Response
from flask import url_for
from werkzeug.http import generate_etag

from .. import errors
from ..changes.backfills import Saved
from ..changes.replan import Preview
from ..host import Host
from . import body
from . import query

_ITEM = ["GET", "PUT", "PATCH", "DELETE"]


class Routes:
    """The views over one host's backfills.

    :param openapi: as in ``BackfillBlueprint``.
    """

    def __init__(self, host: Host, openapi: bool | Mapping[str, t.Any]) -> None:
        self.host = host
        self.openapi = openapi

    def add_to(self, blueprint: Blueprint) -> None:
        rule = blueprint.add_url_rule
        of_pipeline = "/pipelines/<pipeline_uuid>/backfills"
        rule(of_pipeline, "list", self.list_view)
        rule(of_pipeline, "create", self.create_view, methods=["POST"])
        rule("/backfills", "list_anywhere", self.list_anywhere_view)
        for path in (of_pipeline, "/backfills"):
            item = f"{path}/<{self.host.converter}:backfill_id>"
            rule(item, "detail", self.detail_view)
            rule(item, "update", self.update_view, methods=["PUT", "PATCH"])
            rule(item, "delete", self.delete_view, methods=["DELETE"])
            if self.host.run_model is not None:
                rule(f"{item}/runs", "list_runs", self.list_runs_view)
        if self.openapi is not False:
            # Not at the top: a host that does not ask for it need not have the extra.
            from .openapi import document

            self._document = document
            rule("/backfills/openapi.json", "openapi", self.openapi_view)
        # The app answers 404 for paths that no rule matches; under our paths, we answer it.
        slashed = "/pipelines/<pipeline_uuid>/<path:rest>/backfills"
        for path in (of_pipeline, slashed, "/backfills"):
            item = f"{path}/<backfill_id>"
            for path_, methods in ((item, _ITEM), (f"{item}/", _ITEM), (f"{item}/runs", ["GET"])):
                rule(path_, "missing", self.missing_view, methods=methods)

    def list_view(self, pipeline_uuid: str) -> Response:
        self.host.allow("list", pipeline_uuid)
        return self._list(pipeline_uuid, query.read(request, query.List))

    def list_anywhere_view(self) -> Response:
        asked = query.read(request, query.ListAnywhere)
        self.host.allow("list", asked["pipeline_uuid"])
        return self._list(asked["pipeline_uuid"], asked)

    def create_view(self, pipeline_uuid: str) -> Response:
        self.host.allow("create", pipeline_uuid)
        sent, asked = body.read(request), query.read(request, query.Change)
        saved = self.host.backfills.create(pipeline_uuid, sent, **_conditions(asked))
        response = _answer_saved(saved, asked)
        response.status_code = 201
        if not asked["dry_run"]:
            response.location = url_for(
                ".detail", pipeline_uuid=pipeline_uuid, backfill_id=saved.shown["id"]
            )
        return response

    def detail_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.host.allow_one("detail", pipeline_uuid, backfill_id)
        asked = query.read(request, query.Detail)
        backfill = self.host.table.find(pipeline_uuid, backfill_id)
        shown = self.host.backfills.show(backfill)
        more = {}
        if asked["include_run_count"] or asked["include_preview_runs"]:
            # With a preview too: without the total, nobody can page.
            [more] = self.host.backfills.count([backfill])
        if asked["include_preview_runs"]:
            page = self.host.expansion.preview(backfill, asked["offset"], asked["limit"])
            more["pipeline_run_dates"] = page
        if more:
            # What it counts may change while the backfill stays.
            return _answer(shown, more=more)
        response = _answer(shown)
        response.make_conditional(request)
        return response

    def update_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.host.allow_one("update", pipeline_uuid, backfill_id)
        sent, asked = body.read(request), query.read(request, query.Change)
        conditions = _conditions(asked)
        saved = self.host.backfills.update(
            pipeline_uuid, backfill_id, sent, check=self._check_if_match, **conditions
        )
        return _answer_saved(saved, asked)

    def delete_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.host.allow_one("delete", pipeline_uuid, backfill_id)
        query.read(request, query.Query)
        shown = self.host.backfills.delete(pipeline_uuid, backfill_id, check=self._check_if_match)
        return _answer(shown)

    def list_runs_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.host.allow_one("detail", pipeline_uuid, backfill_id)
        asked = query.read(request, query.RunList)
        backfill = self.host.table.find(pipeline_uuid, backfill_id)
        runs, total = self.host.progress.page(
            backfill, asked["status"], asked["offset"], asked["limit"]
        )
        shown = self.host.backfills.show_runs(backfill, runs)
        return _private(jsonify(runs=shown, metadata=_next(asked, total)))

    def openapi_view(self) -> Response:
        server = request.path.removesuffix("/backfills/openapi.json")
        more = self.openapi if isinstance(self.openapi, Mapping) else {}
        return jsonify(self._document(self.host, request.root_path + server, more))

    def missing_view(self, **parts: str) -> Response:
        raise errors.NotFound()

    def _check_if_match(self, backfill: t.Any) -> None:
        if "If-Match" in request.headers:
            if not request.if_match.contains(_etag(self.host.backfills.show(backfill))):
                raise errors.ETagMismatch()

    def _list(self, pipeline_uuid: str, asked: dict[str, t.Any]) -> Response:
        page = asked["offset"], asked["limit"]
        found, total = self.host.backfills.page([pipeline_uuid], asked["status"], *page)
        if asked["include_run_count"]:
            shown = self.host.backfills.show_counted(found)
        else:
            shown = [self.host.backfills.show(one) for one in found]
        return _private(jsonify(backfills=shown, metadata=_next(asked, total)))


def _answer(
    shown: dict[str, t.Any],
    metadata: dict[str, t.Any] | None = None,
    more: dict[str, t.Any] | None = None,
) -> Response:
    """The response for one backfill. Its ETag depends on the attributes alone.

    :param more: further items to show with the attributes.
    """
    response = jsonify(backfill=shown)
    response.add_etag()
    if metadata:
        response.set_data(jsonify(backfill=shown, metadata=metadata).get_data())
    elif more:
        response.set_data(jsonify(backfill={**shown, **more}).get_data())
    return _private(response)


def _private(response: Response) -> Response:
    # Caches must ask each time, since access may have changed.
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _next(asked: dict[str, t.Any], total: int) -> dict[str, t.Any]:
    return {"count": total, "next": asked["offset"] + asked["limit"] < total}


def _conditions(asked: dict[str, t.Any]) -> dict[str, t.Any]:
    """The conditions of a change, and whether it is a dry run."""
    return {
        "if_plan_match": request.headers.get("If-Plan-Match"),
        "preview": Preview(asked["offset"], asked["limit"]) if asked["dry_run"] else None,
    }


def _answer_saved(saved: Saved, asked: dict[str, t.Any]) -> Response:
    response = _answer(saved.shown, saved.metadata)
    if asked["dry_run"]:
        del response.headers["ETag"]
    return response


def _etag(shown: t.Any) -> str:
    return generate_etag(jsonify(backfill=shown).get_data())
