"""The routes: HTTP in, HTTP out; each view asks who it is, what was sent, does it, and answers."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from functools import partial
from functools import wraps

from flask import request
from flask import Response
from flask import url_for
from werkzeug.exceptions import NotFound

from .. import config
from .. import errors
from ..answering import json_response
from ..changes.backfills import Saved
from ..changes.replan import Preview
from ..host import Host
from ..tables import patience
from . import body
from . import query
from .etag import etag
from .etag import matches
from .paths import Paths

V = t.TypeVar("V", bound=Callable[..., Response])


def patient(view: V) -> V:
    """The part of a view that only reads, which is done again if the database interrupts it.

    Whoever asks was let in before: that may be something that can be asked only once.
    """

    @wraps(view)
    def read(self: t.Any, *args: t.Any, **parts: t.Any) -> Response:
        do = partial(view, self, *args, **parts)
        return patience.read(self.host.table.database.opener, do)

    return t.cast(V, read)


class Routes:
    """The views over one host's backfills.

    :param openapi: as in ``BackfillBlueprint``.
    """

    def __init__(self, host: Host, openapi: bool | Mapping[str, t.Any]) -> None:
        if not isinstance(openapi, (bool, Mapping)):
            raise TypeError(
                "openapi must be True, False, or a mapping of items of the document, not"
                f" {openapi!r}"
            )
        self.host = host
        self.openapi = openapi

    def add_to(self, paths: Paths) -> None:
        rule = paths.rule
        of_pipeline = "/pipelines/<pipeline_uuid>/backfills"
        rule(of_pipeline, "list", self.list_view)
        rule(of_pipeline, "create", self.create_view, ["POST"])
        rule("/backfills", "list_anywhere", self.list_anywhere_view)
        for path in (of_pipeline, "/backfills"):
            item = f"{path}/<backfill_id>"
            rule(item, "detail", self.detail_view)
            rule(item, "update", self.update_view, ["PUT", "PATCH"])
            rule(item, "delete", self.delete_view, ["DELETE"])
        if self.host.run_model is not None:
            of_all = "/pipelines/<pipeline_uuid>/coverage"
            rule(of_all, "coverage", self.coverage_view)
            paths.missing(f"{of_all}/", self.missing_view)
        if self.openapi is not False:
            # Not at the top: a host that does not ask for it need not have the extra.
            from .openapi import document

            self._document = document
            rule("/backfills/openapi.json", "openapi", self.openapi_view)
        for path in (of_pipeline, "/pipelines/<pipeline_uuid>/<path:rest>/backfills", "/backfills"):
            for more in ("/", "/<path:more>"):
                paths.missing(path + more, self.missing_view)

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
        try:
            saved = self.host.backfills.create(
                pipeline_uuid,
                sent,
                idempotency_key=request.headers.get("Idempotency-Key"),
                **self._conditions(pipeline_uuid, asked),
            )
        except errors.UnknownPipeline as unknown:
            raise self._hint(unknown) from None
        response = self._answer_saved(saved, asked)
        response.status_code = 201
        if not asked["dry_run"]:
            shown = self.host.backfills.by_attribute(saved.shown)
            response.location = url_for(
                ".detail", pipeline_uuid=pipeline_uuid, backfill_id=shown["id"]
            )
        return response

    def _hint(self, unknown: errors.UnknownPipeline) -> errors.UnknownPipeline:
        """The same, without the name of a pipeline that is not the caller's to know."""
        return (
            unknown if self.host.may("create", unknown.near or "") else errors.UnknownPipeline(None)
        )

    def detail_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.host.allow_one("detail", pipeline_uuid, backfill_id)
        return self._detail(pipeline_uuid, backfill_id, query.read(request, query.Detail))

    @patient
    def _detail(self, pipeline_uuid: str, backfill_id: t.Any, asked: dict[str, t.Any]) -> Response:
        backfill = self.host.table.find(pipeline_uuid, backfill_id)
        shown = self.host.backfills.show(backfill)
        more = {}
        if asked["include_run_count"] or asked["include_preview_runs"]:
            # With a preview too: without the total, nobody can page.
            [more] = self.host.backfills.count([backfill])
        if asked["include_preview_runs"]:
            page = self.host.expansion.preview(backfill, asked["offset"], asked["limit"])
            more["pipeline_run_dates"] = page
        at_once = asked["at_once"]
        if asked["include_forecast"] or at_once is not None:
            more["forecast"] = self.host.backfills.forecast(backfill, at_once=at_once)
        if more:
            # What it counts may change while the backfill stays.
            return self._answer(shown, more=more)
        return self._answer(shown)

    def update_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        if pipeline_uuid is None:
            body.receive(request)
        pipeline_uuid = self.host.allow_one("update", pipeline_uuid, backfill_id)
        sent, asked = body.read(request), query.read(request, query.Change)
        check = partial(self._check_if_match, sent=sent)
        conditions = self._conditions(pipeline_uuid, asked)
        saved = self.host.backfills.update(
            pipeline_uuid, backfill_id, sent, check=check, **conditions
        )
        return self._answer_saved(saved, asked)

    def delete_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.host.allow_one("delete", pipeline_uuid, backfill_id)
        query.read(request, query.Query)
        body.refuse_form(request)
        shown = self.host.backfills.delete(pipeline_uuid, backfill_id, check=self._check_if_match)
        return self._answer(shown)

    def coverage_view(self, pipeline_uuid: str) -> Response:
        self.host.allow("list", pipeline_uuid)
        asked = query.read(request, query.Coverage, self.host.wire_zone)
        return self._coverage(pipeline_uuid, asked)

    @patient
    def _coverage(self, pipeline_uuid: str, asked: dict[str, t.Any]) -> Response:
        span = asked["start_datetime"], asked["end_datetime"]
        page = asked["offset"], asked["limit"]
        shown, counts = self.host.backfills.coverage(pipeline_uuid, *span, *page)
        metadata = {"counts": counts, "next": sum(page) < max(counts.values())}
        return _within_bounds(asked, coverage=shown, metadata=metadata)

    def openapi_view(self) -> Response:
        more = dict(self.openapi) if isinstance(self.openapi, Mapping) else {}
        if more.pop("public", False) is not True:
            self.host.allow("list", "")
        server = request.path.removesuffix("/backfills/openapi.json")
        return json_response(**self._document(self.host, request.root_path + server, more))

    def missing_view(self, more: str = "", **parts: str) -> Response:
        if more and "/" not in more:
            raise errors.NotFound()
        raise NotFound("There is no such path. Paths have no slash at the end.")

    def _check_if_match(self, backfill: t.Any, sent: t.Collection[str] | None = None) -> None:
        if "If-Match" in request.headers:
            shown = self.host.backfills.show(backfill)
            if not matches(self.host, request.if_match, shown, sent):
                raise errors.ETagMismatch()

    @patient
    def _list(self, pipeline_uuid: str, asked: dict[str, t.Any]) -> Response:
        page = asked["offset"], asked["limit"]
        found, total = self.host.backfills.page([pipeline_uuid], asked["status"], *page)
        if asked["include_run_count"]:
            shown = self.host.backfills.show_counted(found)
        else:
            shown = [self.host.backfills.show(one) for one in found]
        return page_of(asked, total, backfills=shown)

    def _answer(
        self,
        shown: dict[str, t.Any],
        metadata: dict[str, t.Any] | None = None,
        more: Mapping[str, t.Any] | None = None,
    ) -> Response:
        """The response for one backfill. Its ETag depends on the attributes alone.

        :param more: further items to show with the attributes.
        """
        told = {"metadata": metadata} if metadata else {}
        response = json_response(backfill={**shown, **(more or {})}, **told)
        response.set_etag(etag(self.host, shown))
        return private(response)

    def _conditions(self, pipeline_uuid: str, asked: dict[str, t.Any]) -> dict[str, t.Any]:
        """The conditions of a change, and whether it is a dry run."""
        preview = None
        if asked["dry_run"]:
            others = self.host.run_model is not None and self.host.may("list", pipeline_uuid)
            page = asked["offset"], asked["limit"]
            preview = Preview(*page, asked["at_once"], others, self.host.wire_zone)
        return {"if_plan_match": request.headers.get("If-Plan-Match"), "preview": preview}

    def _answer_saved(self, saved: Saved, asked: dict[str, t.Any]) -> Response:
        response = self._answer(saved.shown, saved.metadata)
        if asked["dry_run"]:
            del response.headers["ETag"]
        return response


def private(response: Response) -> Response:
    """A response that no cache may give to somebody else, or later."""
    # Caches must ask each time, since access may have changed.
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def page_of(asked: dict[str, t.Any], total: int, **shown: list[dict[str, t.Any]]) -> Response:
    """The response of a page."""
    metadata = {"count": total, "next": asked["offset"] + asked["limit"] < total}
    return _within_bounds(asked, **shown, metadata=metadata)


def _within_bounds(asked: dict[str, t.Any], **told: t.Any) -> Response:
    """The response of a page, which must not be too large.

    :raises flask_backfills.errors.QueryRefused: for more bytes than
        ``BACKFILLS_MAX_PAGE_LENGTH``. A page of one is always answered.
    """
    response = json_response(**told)
    most = config.whole("BACKFILLS_MAX_PAGE_LENGTH")
    if asked["limit"] > 1 and len(response.get_data()) > most:
        raise errors.QueryRefused({"_limit": [f"The page would have more than {most:,} bytes."]})
    return private(response)
