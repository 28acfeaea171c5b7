"""The blueprint: what a host hands over, and what it gets back."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping

from flask import Blueprint
from flask.sansio.app import App
from werkzeug.exceptions import Forbidden
from werkzeug.exceptions import NotFound

from . import config
from . import errors
from .api.history import HistoryRoutes
from .api.mage import MageRoutes
from .api.paths import Paths
from .api.routes import Routes
from .api.runs import RunRoutes
from .auth import Authorize
from .changes.backfills import Backfills
from .changes.backfills import Pipelines
from .changes.expansion import Generator
from .cli import Commands
from .host import Host
from .host import require_function
from .host import Runner
from .rules.lifecycle import TRANSITIONS
from .rules.lifecycle import Transitions
from .runs.messages import MessageQueue
from .tables.backfill_table import Scope
from .tables.event_table import Actor
from .tables.schema import BackfillSchema
from .tables.session import AnySession


class _Part:
    """An attribute of the host, read and set through its blueprint."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, blueprint: t.Any, owner: type[t.Any]) -> t.Any:
        return self if blueprint is None else getattr(blueprint.host, self.name)

    def __set__(self, blueprint: t.Any, value: t.Any) -> None:
        setattr(blueprint.host, self.name, value)


F = t.TypeVar("F", bound=Generator)
R = t.TypeVar("R", bound=Runner)


class BackfillBlueprint(Blueprint):
    """A blueprint that serves the backfill API for your model.

    :param model: a mapped class with a primary key of one column (integer, UUID or
        string) and a ``pipeline_uuid``.
    :param session: your ``db.session``, or another session.
    :param authorize: a function that decides who may call; see :mod:`flask_backfills.auth`.
    :param scope: a function that gets a SELECT of the model and returns a narrower one.
        Callers can't see or change the rows that it leaves out.
    :param schema: a subclass of :class:`BackfillSchema`.
    :param transitions: the statuses that may follow each status; ``None`` allows all.
    :param run_model: a mapped class for the runs, such as one with
        :class:`BackfillRunMixin`. Without it, backfills are stored but never executed.
    :param timezone: the name of the time zone in which days, weeks, months and years are
        counted. Minutes and hours are elapsed time.
    :param local_datetimes: ``True`` to read and show ``start_datetime`` and ``end_datetime``, on
        the wire, in the time zone of ``timezone``: without an offset they are of that zone, and
        they are shown with their offset. All other timestamps stay in UTC. Leave it off beside
        Mage's own web interface, which expects UTC without an offset.
    :param end: ``inclusive`` if ``end_datetime`` itself may have a run, as in Mage;
        ``exclusive`` if not.
    :param pipelines: a function that returns the names of all pipelines. A new backfill of
        another one is refused with a 404 that names the nearest. Without the function, every
        name is a pipeline.
    :param openapi: ``True`` to serve an OpenAPI document at ``/backfills/openapi.json``. A
        mapping does the same and adds its items to the document, such as ``security``. Who
        asks for it must be allowed to ``list`` the pipeline ``""``, unless the mapping has
        ``"public": True``. Needs the extra ``openapi``.
    :param mage_routes: ``True`` to serve the paths that the table of runs in Mage's own web
        interface asks too: ``/pipeline_runs`` and ``/pipeline_schedules/<id>/pipeline_runs``.
        Needs ``run_model``. Leave it off beside a Mage that serves them.
    :param event_model: a mapped class for the history, such as one with
        :class:`BackfillEventMixin`. Each change writes a row of it, in its own transaction.
    :param actor: a function without arguments that says who makes a change, as a text; ``None``
        if it does not know. Needs ``event_model``.
    :param name: the blueprint's name. A second blueprint in an app needs another name.
    :param url_prefix: as in :class:`flask.Blueprint`. All other options of that class are
        accepted too.
    """

    authorize = _Part("authorize")
    table = _Part("table")
    schema = _Part("schema")
    run_model = _Part("run_model")
    run_function = _Part("runner")
    transitions = _Part("transitions")
    generators = _Part("generators")
    expansion = _Part("expansion")
    zone = _Part("zone")

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
        local_datetimes: bool = False,
        end: str = "inclusive",
        pipelines: Pipelines | None = None,
        openapi: bool | Mapping[str, t.Any] = False,
        mage_routes: bool = False,
        event_model: type[t.Any] | None = None,
        actor: Actor | None = None,
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
            local_datetimes=local_datetimes,
            end=end,
            pipelines=pipelines,
            event_model=event_model,
            actor=actor,
            # A subclass may have its own.
            allow=self.allow,
            allow_one=self.allow_one,
        )
        self.cli = Commands(self.host)
        self._paths = Paths(self)
        Routes(self.host, openapi).add_to(self._paths)
        if run_model is not None:
            RunRoutes(self.host).add_to(self._paths)
        if event_model is not None:
            HistoryRoutes(self.host).add_to(self._paths)
        if mage_routes and run_model is None:
            raise TypeError("mage_routes=True needs runs: pass run_model= too")
        if mage_routes:
            MageRoutes(self.host).add_to(self._paths)
        errors.register(self)

    @property
    def runs(self) -> MessageQueue:
        """The runs of this blueprint, for workers of your own.

        :raises RuntimeError: if the blueprint has no ``run_model``.
        """
        return self.host.runs

    @property
    def backfills(self) -> Backfills:
        """The operations of the API, for your own commands and pages."""
        return self.host.backfills

    def generator(self, name: str) -> Callable[[F], F]:
        """Register a function that lists the runs of backfills whose ``block_uuid`` is ``name``.

        The function is called with the backfill, within the transaction that plans its
        runs. It returns or yields one dict for each run. The dict overrides the backfill's
        variables. Two of its keys are special, and optional:

        - ``key``: a string that identifies the run in later plans; by default, its position.
        - ``execution_date``: a datetime (UTC if naive) or a string in ISO 8601.
        """
        if not isinstance(name, str):
            raise TypeError('a generator needs a name: write @blueprint.generator("its name")')

        def register(function: F) -> F:
            require_function(function, "a generator", "backfill")
            self.host.generators[name] = function
            return function

        return register

    def runner(self, function: R) -> R:
        """Register the function that executes one run, for every kind of worker.

        The function is called in an app context, with the run as it was claimed. It returns
        a dict of metrics or ``None``. If it raises an exception, the run fails: its
        ``error`` is the text of the exception, and the traceback goes to the app's log.

        :raises TypeError: for a coroutine function.
        """
        require_function(function, "the runner", "run")
        self.host.runner = function
        return function

    def allow(self, action: str, pipeline_uuid: str) -> None:
        """Refuse a caller who is not allowed to do something in a pipeline.

        :raises flask_backfills.errors.Forbidden: unless ``authorize`` returns ``True``.
        """
        if self.authorize(action, pipeline_uuid) is not True:
            raise errors.Forbidden()

    def allow_one(self, action: str, pipeline_uuid: str | None, backfill_id: t.Any) -> str:
        """Return the pipeline of a backfill for which the caller is allowed to do something.

        :param pipeline_uuid: the pipeline in the URL, which is checked before anything is
            read; ``None`` for that of the row. Then a caller who may not even see the backfill
            gets the same answer as for one that does not exist.
        :raises flask_backfills.errors.NotFound: if there is no such backfill.
        :raises flask_backfills.errors.Forbidden: if the caller is not allowed.
        """
        if pipeline_uuid is not None:
            self.allow(action, pipeline_uuid)
            return pipeline_uuid
        try:
            found: str | None = self.table.locate(backfill_id)
        except errors.NotFound:
            found = None
        try:
            # For a missing one too, so that a caller without credentials learns no more.
            self.allow(action, found or "")
        except (Forbidden, NotFound) as refused:
            # As often as for one that is there, so that both take as long.
            sees = action != "detail" and self.host.may("detail", found or "")
            if sees and found is not None:
                raise refused
            found = None
        if found is None:
            raise errors.NotFound()
        return found

    def register(self, app: App, options: dict[str, t.Any]) -> None:
        # A model that can't be served is an error at start, not at the first request; and
        # not earlier, since the models that it refers to may not be imported before.
        self.host.check()
        config.check(app.config)
        if not self._got_registered_once:
            # After the rules of the host's own, which come first.
            self._paths.close()
        for remark in self.host.remarks():
            app.logger.warning("%s", remark)
        super().register(app, options)
