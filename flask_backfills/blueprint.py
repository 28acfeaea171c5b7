"""The routes: HTTP in, HTTP out."""

from __future__ import annotations

import json
import typing as t
import uuid
from functools import cached_property

from flask import Blueprint
from flask import jsonify
from flask import request
from flask import Response
from flask.sansio.app import App
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session
from werkzeug.http import generate_etag

from . import body
from . import columns
from . import errors
from . import signals
from .auth import Authorize
from .lifecycle import TRANSITIONS
from .lifecycle import Transitions
from .schema import BackfillSchema
from .table import Scope
from .table import Table
from .update import update

_CONVERTERS = {int: "int", uuid.UUID: "uuid", str: "string"}


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
        name: str = "backfills",
        url_prefix: str = "/api",
        **options: t.Any,
    ) -> None:
        super().__init__(name, __name__, url_prefix=url_prefix, **options)
        if not callable(authorize):
            raise TypeError("authorize must be a function: see flask_backfills.auth")
        self.table = Table(model, session, scope)
        self.authorize = authorize
        self.schema_class = schema
        self.transitions = transitions

        converter = _CONVERTERS[columns.python_type(columns.key_column(columns.mapper_of(model)))]
        item = f"/pipelines/<pipeline_uuid>/backfills/<{converter}:backfill_id>"
        self.add_url_rule(item, "detail", self.detail)
        self.add_url_rule(item, "update", self.update, methods=["PUT", "PATCH"])
        # What no rule takes is the app's 404; under our own paths it is ours.
        for path in ("<pipeline_uuid>", "<pipeline_uuid>/<path:rest>"):
            self.add_url_rule(
                f"/pipelines/{path}/backfills/<path:backfill_id>",
                "missing",
                self.missing,
                methods=["GET", "PUT", "PATCH"],
            )
        errors.register(self)

    @cached_property
    def schema(self) -> BackfillSchema:
        """The schema as the model's columns tighten it."""
        return self.schema_class(self.table.model)

    def register(self, app: App, options: dict[str, t.Any]) -> None:
        # A model that can't be served is an error at start, not at the first request; and
        # not earlier, since the models that it refers to may not be imported before.
        self.schema  # noqa: B018
        super().register(app, options)

    def detail(self, pipeline_uuid: str, backfill_id: t.Any) -> Response:
        self._allow("detail", pipeline_uuid)
        backfill = self.table.find(pipeline_uuid, backfill_id)
        response = _answer(self.schema.dump(backfill))
        response.make_conditional(request)
        return response

    def update(self, pipeline_uuid: str, backfill_id: t.Any) -> Response:
        self._allow("update", pipeline_uuid)
        sent = body.read(request)
        self._refuse_query()
        with self.table.transaction():
            backfill = self.table.find(pipeline_uuid, backfill_id, lock=True)
            _check_if_match(self.schema.dump(backfill))
            changes = update(backfill, sent, self.schema, self.transitions)
            self.table.session.flush()
            # Before the commit, which expires what would have to be read again.
            response = _answer(self.schema.dump(backfill))
        if changes:
            signals.send(signals.backfill_updated, self.table.session, backfill, changes)
        return response

    def missing(self, **parts: str) -> Response:
        raise errors.NotFound()

    def _allow(self, action: str, pipeline_uuid: str) -> None:
        if self.authorize(action, pipeline_uuid) is not True:
            raise errors.Forbidden()

    def _refuse_query(self) -> None:
        # An attribute in the query would otherwise be dropped in silence.
        misplaced = request.args.keys() & self.schema.fields.keys()
        if misplaced:
            raise errors.Refused(
                {key: ["Belongs in the body, not in the URL."] for key in sorted(misplaced)}
            )


def _answer(shown: t.Any) -> Response:
    response = jsonify(backfill=shown)
    response.set_etag(_etag(shown))
    # Who may see it is asked each time.
    response.cache_control.private = True
    response.cache_control.no_cache = True
    return response


def _check_if_match(shown: t.Any) -> None:
    if "If-Match" in request.headers and not request.if_match.contains(_etag(shown)):
        raise errors.ETagMismatch()


def _etag(shown: t.Any) -> str:
    return generate_etag(json.dumps(shown, sort_keys=True, default=str).encode())
