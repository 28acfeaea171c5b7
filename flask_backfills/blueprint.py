"""The routes: HTTP in, HTTP out."""

from __future__ import annotations

import typing as t
import uuid
from collections.abc import Callable
from collections.abc import Mapping
from datetime import timezone
from datetime import tzinfo
from functools import cached_property
from zoneinfo import ZoneInfo

from flask import Blueprint
from flask import jsonify
from flask import request
from flask import Response
from flask import url_for
from flask.sansio.app import App
from marshmallow import ValidationError
from sqlalchemy import Dialect
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session
from werkzeug import exceptions as http
from werkzeug.http import generate_etag
from werkzeug.http import unquote_etag

from . import body
from . import columns
from . import errors
from . import query
from . import signals
from .auth import Authorize
from .expansion import Expansion
from .expansion import Generator
from .expansion import show
from .lifecycle import TRANSITIONS
from .lifecycle import Transitions
from .plan import Entry
from .plan import Tally
from .replan import follow
from .replan import Preview
from .runs import Runs
from .schema import BackfillSchema
from .schema import SettingsSchema
from .table import Scope
from .table import Table
from .update import Changes
from .update import update

_ITEM = ["GET", "PUT", "PATCH", "DELETE"]
_CONVERTERS = {int: "int", uuid.UUID: "uuid", str: "string"}

F = t.TypeVar("F", bound=Generator)


class BackfillBlueprint(Blueprint):
    """The backfill API over a model of the host's.

    :param model: a mapped class with a primary key of one column (integer, UUID or
        string) and a ``pipeline_uuid``.
    :param session: the host's ``db.session``, or any other session.
    :param authorize: who may call; see :mod:`flask_backfills.auth`.
    :param scope: from a SELECT of the model to a narrower one, applied to every look-up:
        what it leaves out does not exist.
    :param schema: a subclass of :class:`BackfillSchema`.
    :param transitions: which status may follow which; ``None`` for any.
    :param run_model: a mapped class for the runs, such as one with
        :class:`BackfillRunMixin`; without one backfills are records that nothing runs.
    :param timezone: the name of the zone in which days, weeks, months and years are
        counted; minutes and hours are elapsed time.
    :param end: ``inclusive`` if a run may be at ``end_datetime`` itself, as in Mage, or
        ``exclusive``.
    :param openapi: whether to serve an OpenAPI document of the blueprint at
        ``/backfills/openapi.json``, or what to add to it, such as ``security``; needs the
        extra ``openapi``.
    :param name: the blueprint's name; a second blueprint in an app needs another.
    :param url_prefix: as in :class:`flask.Blueprint`, whose other options are taken too.
    """

    def __init__(
        self,
        model: type[t.Any],
        session: Session | scoped_session[Session],
        *,
        authorize: Authorize,
        scope: Scope | None = None,
        schema: type[BackfillSchema] = BackfillSchema,
        transitions: Transitions | None = TRANSITIONS,
        run_model: type[t.Any] | None = None,
        timezone: str = "UTC",
        end: str = "inclusive",
        openapi: bool | Mapping[str, t.Any] = False,
        name: str = "backfills",
        url_prefix: str = "/api",
        **options: t.Any,
    ) -> None:
        super().__init__(name, __name__, url_prefix=url_prefix, **options)
        if not callable(authorize):
            raise TypeError("authorize must be a function: see flask_backfills.auth")
        if end not in ("inclusive", "exclusive"):
            raise ValueError(f"end must be 'inclusive' or 'exclusive', not {end!r}")
        columns.require(model, "pipeline_uuid")
        self.table = Table(model, session, scope)
        self.authorize = authorize
        self.schema_class = schema
        self.transitions = transitions
        self.run_model = run_model
        self.zone = _zone(timezone)
        self.end = end
        self.openapi = openapi
        self.generators: dict[str, Generator] = {}
        self._add_rules()
        errors.register(self)

    def _add_rules(self) -> None:
        converter = _CONVERTERS[columns.python_type(columns.key_column(self.table.mapper))]
        of_pipeline = "/pipelines/<pipeline_uuid>/backfills"
        self.add_url_rule(of_pipeline, "list", self.list_view)
        self.add_url_rule(of_pipeline, "create", self.create_view, methods=["POST"])
        self.add_url_rule("/backfills", "list_anywhere", self.list_anywhere_view)
        for path in (of_pipeline, "/backfills"):
            item = f"{path}/<{converter}:backfill_id>"
            self.add_url_rule(item, "detail", self.detail_view)
            self.add_url_rule(item, "update", self.update_view, methods=["PUT", "PATCH"])
            self.add_url_rule(item, "delete", self.delete_view, methods=["DELETE"])
            if self.run_model is not None:
                self.add_url_rule(f"{item}/runs", "list_runs", self.list_runs_view)
        if self.openapi is not False:
            # Not at the top: a host that does not ask for it need not have the extra.
            from .openapi import document

            self._document = document
            self.add_url_rule("/backfills/openapi.json", "openapi", self.openapi_view)
        # What no rule takes is the app's 404; under our own paths it is ours.
        slashed = "/pipelines/<pipeline_uuid>/<path:rest>/backfills"
        for path in (of_pipeline, slashed, "/backfills"):
            item = f"{path}/<backfill_id>"
            for rule, methods in ((item, _ITEM), (f"{item}/", _ITEM), (f"{item}/runs", ["GET"])):
                self.add_url_rule(rule, "missing", self.missing_view, methods=methods)

    @cached_property
    def schema(self) -> BackfillSchema:
        """The schema as the model's columns tighten it."""
        return self.schema_class(self.table.model)

    @cached_property
    def runs(self) -> Runs:
        """The runs, for the host's workers.

        :raises RuntimeError: if the blueprint has no ``run_model``.
        """
        if self.run_model is None:
            raise RuntimeError("there are no runs: pass run_model= to BackfillBlueprint")
        return Runs(self.table, self.schema, self.run_model)

    @cached_property
    def expansion(self) -> Expansion:
        """From backfills to the runs that they ask for."""
        run_schema = None if self.run_model is None else self.runs.run_schema
        inclusive = self.end == "inclusive"
        return Expansion(self.schema, run_schema, self.zone, inclusive, self.generators)

    def generator(self, name: str) -> Callable[[F], F]:
        """Register a function that gives the runs of backfills whose ``block_uuid`` is ``name``.

        It is called with the backfill, within the transaction that plans its runs, and
        returns or yields one dict a run, whose keys overlay the backfill's variables. Two
        are the run's own and optional: ``key``, a string by which the run is known when
        the backfill is planned again (without one, its position), and ``execution_date``,
        a datetime (UTC if naive) or its ISO 8601.
        """

        def register(function: F) -> F:
            self.generators[name] = function
            return function

        return register

    def register(self, app: App, options: dict[str, t.Any]) -> None:
        # A model that can't be served is an error at start, not at the first request; and
        # not earlier, since the models that it refers to may not be imported before.
        if self.run_model is None:
            self.schema  # noqa: B018
        else:
            self.runs  # noqa: B018
        super().register(app, options)

    # The routes

    def list_view(self, pipeline_uuid: str) -> Response:
        self._allow("list", pipeline_uuid)
        return self._list(pipeline_uuid, query.read(request, query.List))

    def list_anywhere_view(self) -> Response:
        asked = query.read(request, query.ListAnywhere)
        self._allow("list", asked["pipeline_uuid"])
        return self._list(asked["pipeline_uuid"], asked)

    def create_view(self, pipeline_uuid: str) -> Response:
        self._allow("create", pipeline_uuid)
        sent, asked = body.read(request), query.read(request, query.Change)
        with self.table.transaction(keep=not asked["dry_run"]):
            backfill, wrong = self._new(pipeline_uuid, sent)
            self.table.session.add(backfill)
            saved = self._save(backfill, sent, asked, wrong)
        if asked["dry_run"]:
            # Some databases have given it a key, which is nobody's now.
            saved.shown["id"] = None
        response = self._answer_saved(saved, asked)
        response.status_code = 201
        if not asked["dry_run"]:
            response.location = url_for(
                ".detail", pipeline_uuid=pipeline_uuid, backfill_id=saved.shown["id"]
            )
        return response

    def detail_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self._allow_one("detail", pipeline_uuid, backfill_id)
        asked = query.read(request, query.Detail)
        backfill = self.table.find(pipeline_uuid, backfill_id)
        shown = self._show(backfill)
        [more] = self._more([backfill], asked["include_run_count"])
        if asked["include_preview_runs"]:
            page = self.expansion.preview(backfill, asked["offset"], asked["limit"])
            more["pipeline_run_dates"] = page
        if more:
            # What it counts may change while the backfill stays.
            return _answer(shown, more=more)
        response = _answer(shown)
        response.make_conditional(request)
        return response

    def update_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self._allow_one("update", pipeline_uuid, backfill_id)
        sent, asked = body.read(request), query.read(request, query.Change)
        with self.table.transaction(keep=not asked["dry_run"]):
            backfill = self.table.find(pipeline_uuid, backfill_id, lock=True)
            self._check_if_match(backfill)
            saved = self._save(backfill, sent, asked, {})
        return self._answer_saved(saved, asked)

    def delete_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self._allow_one("delete", pipeline_uuid, backfill_id)
        query.read(request, query.Query)
        with self.table.transaction():
            backfill = self.table.find(pipeline_uuid, backfill_id, lock=True)
            self._check_if_match(backfill)
            shown = self._show(backfill)
            if self.run_model is not None:
                if self.runs.are_active(backfill):
                    raise errors.StillActive()
                self.runs.delete(backfill)
            self.table.session.delete(backfill)
        return _answer(shown)

    def list_runs_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self._allow_one("detail", pipeline_uuid, backfill_id)
        asked = query.read(request, query.RunList)
        backfill = self.table.find(pipeline_uuid, backfill_id)
        runs, total = self.runs.page(backfill, asked["status"], asked["offset"], asked["limit"])
        shown = self.runs.run_schema.dump(runs, many=True)
        return _private(jsonify(runs=shown, metadata=_next(asked, total)))

    def openapi_view(self) -> Response:
        server = request.path.removesuffix("/backfills/openapi.json")
        more = self.openapi if isinstance(self.openapi, Mapping) else {}
        return jsonify(self._document(self, request.root_path + server, more))

    def missing_view(self, **parts: str) -> Response:
        raise errors.NotFound()

    # What they share

    def _allow(self, action: str, pipeline_uuid: str) -> None:
        if self.authorize(action, pipeline_uuid) is not True:
            raise errors.Forbidden()

    def _allow_one(self, action: str, pipeline_uuid: str | None, backfill_id: t.Any) -> str:
        """The pipeline of a backfill for which the caller is allowed to do something.

        :param pipeline_uuid: the one in the URL, asked for before anything is read; without
            one it is the row's own, and who is not allowed is told what a missing one tells.
        """
        if pipeline_uuid is not None:
            self._allow(action, pipeline_uuid)
            return pipeline_uuid
        try:
            found = str(self.table.find(None, backfill_id).pipeline_uuid)
        except errors.NotFound:
            found = None
        try:
            # For a missing one too, so that a caller without credentials learns no more.
            self._allow(action, found or "")
        except (http.Forbidden, http.NotFound):
            found = None
        if found is None:
            raise errors.NotFound()
        return found

    def _new(self, pipeline_uuid: str, sent: dict[str, t.Any]) -> tuple[t.Any, errors.Errors]:
        """A backfill that is nowhere yet, and what keeps it from being stored."""
        backfill = self.table.model()
        wrong = self.schema.missing_from(sent)
        try:
            backfill.pipeline_uuid = self.schema.fields["pipeline_uuid"].deserialize(pipeline_uuid)
        except ValidationError as error:
            wrong["pipeline_uuid"] = error.messages
        return backfill, wrong

    def _save(
        self,
        backfill: t.Any,
        sent: dict[str, t.Any],
        asked: dict[str, t.Any],
        wrong: errors.Errors,
    ) -> Saved:
        """Write what was sent and let the runs follow, within the caller's transaction."""
        before = self.expansion.values(backfill) if self.run_model is not None else {}
        wrong = {**wrong, **self._wrong_settings(sent)}
        changes = update(backfill, sent, self.schema, self.transitions, wrong)
        session = self.table.session
        if dialect := self.table.mysql:
            self._flush_whole_seconds(dialect, backfill, sent)
        session.flush()
        preview = Preview(asked["offset"], asked["limit"]) if asked["dry_run"] else None
        plan = None
        if self.run_model is not None:
            plan = follow(self.runs, self.expansion, backfill, before, changes, preview)
            session.flush()
        metadata = _tell_plan(plan, preview if self.run_model is not None else None)
        _check_if_plan_match(plan, metadata)
        # Before the commit, which expires what would have to be read again.
        return Saved(backfill, changes, self._show(backfill), metadata)

    def _wrong_settings(self, sent: dict[str, t.Any]) -> errors.Errors:
        key = self.schema.key_of("settings")
        if self.run_model is None or not isinstance(sent.get(key), dict):
            return {}
        wrong = SettingsSchema().validate(sent[key])
        return {key: wrong} if wrong else {}

    def _flush_whole_seconds(
        self, dialect: Dialect, backfill: t.Any, sent: dict[str, t.Any]
    ) -> None:
        """Refuse what a column would cut, and show what is not the caller's as it is cut."""
        cut = self.schema.cut_by(dialect, backfill)
        message = "Must be a whole second: the column keeps no fraction."
        if wrong := {key: [message] for key in cut.values() if key in sent}:
            raise errors.Refused(wrong)
        self.table.session.flush()
        if cut := self.schema.cut_by(dialect, backfill):
            mapper = self.schema.mapper
            stale = [columns.mapped_as(mapper, attribute) or attribute for attribute in cut]
            self.table.session.refresh(backfill, stale)

    def _answer_saved(self, saved: Saved, asked: dict[str, t.Any]) -> Response:
        response = _answer(saved.shown, saved.metadata)
        if asked["dry_run"]:
            del response.headers["ETag"]
        else:
            signals.tell(self.table.session, self.schema, saved.backfill, saved.changes)
        return response

    def _show(self, backfill: t.Any) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.schema.dump(backfill))

    def _check_if_match(self, backfill: t.Any) -> None:
        if "If-Match" in request.headers:
            if not request.if_match.contains(_etag(self._show(backfill))):
                raise errors.ETagMismatch()

    def _list(self, pipeline_uuid: str, asked: dict[str, t.Any]) -> Response:
        criteria = [self.table.of_pipeline(pipeline_uuid)]
        if asked["status"] is not None:
            criteria.append(self.schema.is_word(self.table.model, "status", asked["status"]))
        found, total = self.table.page(criteria, asked["offset"], asked["limit"])
        more = self._more(found, asked["include_run_count"])
        shown = [{**self._show(one), **extra} for one, extra in zip(found, more, strict=True)]
        return _private(jsonify(backfills=shown, metadata=_next(asked, total)))

    def _more(self, backfills: list[t.Any], run_count: bool) -> list[dict[str, t.Any]]:
        """What is shown of each backfill beside its attributes."""
        if not run_count:
            return [{} for _ in backfills]
        totals = [{"total_run_count": self.expansion.count(one)} for one in backfills]
        if self.run_model is None:
            return totals
        counts = self.runs.counts([self.table.key_of(one) for one in backfills])
        more = []
        for total, statuses in zip(totals, counts.values(), strict=True):
            # Of a generator only what it gave is known.
            known = total["total_run_count"]
            total["total_run_count"] = sum(statuses.values()) or None if known is None else known
            more.append({**total, "run_status_counts": dict(statuses)})
        return more


class Saved(t.NamedTuple):
    """A backfill that is written, and what is told of it."""

    backfill: t.Any
    changes: Changes
    shown: dict[str, t.Any]
    metadata: dict[str, t.Any] | None


def _zone(name: str) -> tzinfo:
    # Known without a database of zones, which a small machine may lack.
    return timezone.utc if name == "UTC" else ZoneInfo(name)


def _answer(
    shown: dict[str, t.Any],
    metadata: dict[str, t.Any] | None = None,
    more: dict[str, t.Any] | None = None,
) -> Response:
    """A backfill, with the ETag of its attributes alone.

    :param more: what is shown beside its attributes.
    """
    response = jsonify(backfill=shown)
    response.add_etag()
    if metadata:
        response.set_data(jsonify(backfill=shown, metadata=metadata).get_data())
    elif more:
        response.set_data(jsonify(backfill={**shown, **more}).get_data())
    return _private(response)


def _private(response: Response) -> Response:
    # Who may see it is asked each time.
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _next(asked: dict[str, t.Any], total: int) -> dict[str, t.Any]:
    return {"count": total, "next": asked["offset"] + asked["limit"] < total}


def _tell_plan(plan: Tally | None, preview: Preview | None) -> dict[str, t.Any] | None:
    """What the answer says of the plan; ``None`` if there is none to tell."""
    if plan is None and preview is None:
        return None
    plan = plan or Tally(None)
    told = {"plan": {**plan.counts, "hash": plan.hash()}}
    if preview is None:
        return told
    told["plan"]["entries"] = [_tell_entry(entry) for entry in preview.entries]
    page = {"offset": preview.offset, "limit": preview.limit}
    return {**told, **_next(page, preview.count)}


def _tell_entry(entry: Entry) -> dict[str, t.Any]:
    return {
        "key": entry.key,
        "execution_date": entry.date and show(entry.date),
        "action": entry.action,
        "reason": entry.reason,
    }


def _check_if_plan_match(plan: Tally | None, metadata: dict[str, t.Any] | None) -> None:
    if "If-Plan-Match" in request.headers:
        named, _ = unquote_etag(request.headers["If-Plan-Match"])
        if named != (plan or Tally(None)).hash():
            raise errors.PlanMismatch(metadata or {"plan": None})


def _etag(shown: t.Any) -> str:
    return generate_etag(jsonify(backfill=shown).get_data())
