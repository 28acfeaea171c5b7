"""The blueprint: what a host hands over, and what it gets back."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping

from flask import Blueprint
from flask.sansio.app import App

from . import errors
from .api.routes import Routes
from .auth import Authorize
from .changes.backfills import Backfills
from .changes.expansion import Generator
from .cli import Commands
from .host import Host
from .host import Runner
from .rules.lifecycle import TRANSITIONS
from .rules.lifecycle import Transitions
from .runs.messages import MessageQueue
from .tables.backfill_table import Scope
from .tables.database import AnySession
from .tables.schema import BackfillSchema

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
        session: AnySession,
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
        #: The parts that routes, pages, commands and workers share.
        self.host = Host(
            name,
            model,
            session,
            authorize=authorize,
            scope=scope,
            schema=schema,
            transitions=transitions,
            run_model=run_model,
            timezone=timezone,
            end=end,
        )
        self.cli = Commands(self.host)
        Routes(self.host, openapi).add_to(self)
        errors.register(self)

    @property
    def runs(self) -> MessageQueue:
        """The runs, for the host's workers.

        :raises RuntimeError: if the blueprint has no ``run_model``.
        """
        return self.host.runs

    @property
    def backfills(self) -> Backfills:
        """The backfills, as commands and pages of the host's change them."""
        return self.host.backfills

    def generator(self, name: str) -> Callable[[F], F]:
        """Register a function that gives the runs of backfills whose ``block_uuid`` is ``name``.

        It is called with the backfill, within the transaction that plans its runs, and
        returns or yields one dict a run, whose keys overlay the backfill's variables. Two
        are the run's own and optional: ``key``, a string by which the run is known when
        the backfill is planned again (without one, its position), and ``execution_date``,
        a datetime (UTC if naive) or its ISO 8601.
        """

        def register(function: F) -> F:
            self.host.generators[name] = function
            return function

        return register

    def runner(self, function: R) -> R:
        """Register the function that does the work of one run, for workers of any kind.

        It is called with the run, as it was claimed, in an app context, and returns a dict
        of metrics or ``None``. What it raises makes a failed run: the text of the exception
        is kept as the run's ``error``, the traceback goes to the app's log.
        """
        self.host.runner = function
        return function

    def allow(self, action: str, pipeline_uuid: str) -> None:
        """Refuse a caller who is not allowed to do something in a pipeline."""
        self.host.allow(action, pipeline_uuid)

    def allow_one(self, action: str, pipeline_uuid: str | None, backfill_id: t.Any) -> str:
        """The pipeline of a backfill for which the caller is allowed to do something.

        :param pipeline_uuid: the one in the URL; ``None`` for the row's own.
        """
        return self.host.allow_one(action, pipeline_uuid, backfill_id)

    def register(self, app: App, options: dict[str, t.Any]) -> None:
        # A model that can't be served is an error at start, not at the first request; and
        # not earlier, since the models that it refers to may not be imported before.
        self.host.check()
        super().register(app, options)
