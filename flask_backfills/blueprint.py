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

import click
from flask import Blueprint
from flask import jsonify
from flask import request
from flask import Response
from flask import url_for
from flask.cli import AppGroup
from flask.sansio.app import App
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session
from werkzeug import exceptions as http
from werkzeug.http import generate_etag

from . import body
from . import columns
from . import errors
from . import query
from .auth import Authorize
from .backfills import Backfills
from .backfills import Saved
from .expansion import Expansion
from .expansion import Generator
from .lifecycle import TRANSITIONS
from .lifecycle import Transitions
from .replan import Preview
from .runs import Runs
from .schema import BackfillSchema
from .table import Scope
from .table import Table

_ITEM = ["GET", "PUT", "PATCH", "DELETE"]
_CONVERTERS = {int: "int", uuid.UUID: "uuid", str: "string"}

#: From a run to its metrics.
Runner = Callable[[t.Any], Mapping[str, t.Any] | None]

F = t.TypeVar("F", bound=Generator)
R = t.TypeVar("R", bound=Runner)


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
        self.run_function: Runner | None = None
        self.cli = Commands(self)
        #: How a backfill's key stands in a URL.
        self.converter = _CONVERTERS[columns.python_type(columns.key_column(self.table.mapper))]
        self._add_rules()
        errors.register(self)

    def _add_rules(self) -> None:
        of_pipeline = "/pipelines/<pipeline_uuid>/backfills"
        self.add_url_rule(of_pipeline, "list", self.list_view)
        self.add_url_rule(of_pipeline, "create", self.create_view, methods=["POST"])
        self.add_url_rule("/backfills", "list_anywhere", self.list_anywhere_view)
        for path in (of_pipeline, "/backfills"):
            item = f"{path}/<{self.converter}:backfill_id>"
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
    def backfills(self) -> Backfills:
        """The backfills, as commands and pages of the host's change them."""
        runs = None if self.run_model is None else self.runs
        return Backfills(self.table, self.schema, self.transitions, self.expansion, runs)

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

    def runner(self, function: R) -> R:
        """Register the function that does the work of one run, for workers of any kind.

        It is called with the run, as it was claimed, in an app context, and returns a dict
        of metrics or ``None``. What it raises makes a failed run: the text of the exception
        is kept as the run's ``error``, the traceback goes to the app's log.
        """
        self.run_function = function
        return function

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
        self.allow("list", pipeline_uuid)
        return self._list(pipeline_uuid, query.read(request, query.List))

    def list_anywhere_view(self) -> Response:
        asked = query.read(request, query.ListAnywhere)
        self.allow("list", asked["pipeline_uuid"])
        return self._list(asked["pipeline_uuid"], asked)

    def create_view(self, pipeline_uuid: str) -> Response:
        self.allow("create", pipeline_uuid)
        sent, asked = body.read(request), query.read(request, query.Change)
        saved = self.backfills.create(pipeline_uuid, sent, **_conditions(asked))
        response = _answer_saved(saved, asked)
        response.status_code = 201
        if not asked["dry_run"]:
            response.location = url_for(
                ".detail", pipeline_uuid=pipeline_uuid, backfill_id=saved.shown["id"]
            )
        return response

    def detail_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.allow_one("detail", pipeline_uuid, backfill_id)
        asked = query.read(request, query.Detail)
        backfill = self.table.find(pipeline_uuid, backfill_id)
        shown = self.backfills.show(backfill)
        more = self.backfills.count([backfill])[0] if asked["include_run_count"] else {}
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
        pipeline_uuid = self.allow_one("update", pipeline_uuid, backfill_id)
        sent, asked = body.read(request), query.read(request, query.Change)
        conditions = _conditions(asked)
        saved = self.backfills.update(
            pipeline_uuid, backfill_id, sent, check=self._check_if_match, **conditions
        )
        return _answer_saved(saved, asked)

    def delete_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.allow_one("delete", pipeline_uuid, backfill_id)
        query.read(request, query.Query)
        shown = self.backfills.delete(pipeline_uuid, backfill_id, check=self._check_if_match)
        return _answer(shown)

    def list_runs_view(self, backfill_id: t.Any, pipeline_uuid: str | None = None) -> Response:
        pipeline_uuid = self.allow_one("detail", pipeline_uuid, backfill_id)
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

    def allow(self, action: str, pipeline_uuid: str) -> None:
        """Refuse a caller who is not allowed to do something in a pipeline."""
        if self.authorize(action, pipeline_uuid) is not True:
            raise errors.Forbidden()

    def allow_one(self, action: str, pipeline_uuid: str | None, backfill_id: t.Any) -> str:
        """The pipeline of a backfill for which the caller is allowed to do something.

        :param pipeline_uuid: the one in the URL, asked for before anything is read; without
            one it is the row's own, and who is not allowed is told what a missing one tells.
        """
        if pipeline_uuid is not None:
            self.allow(action, pipeline_uuid)
            return pipeline_uuid
        try:
            found = str(self.table.find(None, backfill_id).pipeline_uuid)
        except errors.NotFound:
            found = None
        try:
            # For a missing one too, so that a caller without credentials learns no more.
            self.allow(action, found or "")
        except (http.Forbidden, http.NotFound):
            found = None
        if found is None:
            raise errors.NotFound()
        return found

    def _check_if_match(self, backfill: t.Any) -> None:
        if "If-Match" in request.headers:
            if not request.if_match.contains(_etag(self.backfills.show(backfill))):
                raise errors.ETagMismatch()

    def _list(self, pipeline_uuid: str, asked: dict[str, t.Any]) -> Response:
        page = asked["offset"], asked["limit"]
        found, total = self.backfills.page([pipeline_uuid], asked["status"], *page)
        if asked["include_run_count"]:
            shown = self.backfills.show_counted(found)
        else:
            shown = [self.backfills.show(one) for one in found]
        return _private(jsonify(backfills=shown, metadata=_next(asked, total)))


class Commands(AppGroup):
    """``flask backfills``, whose commands are imported when one is asked for."""

    def __init__(self, blueprint: BackfillBlueprint) -> None:
        names = """list show create update preview start pause resume cancel retry delete watch
        work recover"""
        later: dict[str, t.Any] = dict.fromkeys(names.split())
        super().__init__(commands=later, help="The backfills of this app.")
        self.blueprint = blueprint

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from . import cli

        ctx.meta[cli.BLUEPRINT] = self.blueprint
        own = super().get_command(ctx, cmd_name)
        return own or cli.group.get_command(ctx, cmd_name)


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


def _conditions(asked: dict[str, t.Any]) -> dict[str, t.Any]:
    """What a change depends on, and whether it is only previewed."""
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
