"""What a host handed over, and the parts that are made of it, each once.

The routes, the console, the commands, the worker and Celery take a :class:`Host`; none of them
knows the blueprint.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from datetime import timezone
from datetime import tzinfo
from functools import cached_property
from zoneinfo import ZoneInfo

from werkzeug.exceptions import HTTPException

from .auth import Authorize
from .auth import require_function as require_function
from .auth import require_plain
from .changes.backfills import Backfills
from .changes.backfills import Pipelines
from .changes.changed_runs import ChangedRuns
from .changes.expansion import Expansion
from .changes.expansion import Generator
from .changes.explaining import Explaining
from .rules.lifecycle import Transitions
from .runs.listing import Listing
from .runs.messages import MessageQueue
from .runs.planned import Planned
from .runs.progress import Progress
from .runs.rollup import Rollup
from .runs.why import Why
from .tables import columns
from .tables import kinds
from .tables import models
from .tables import remarks
from .tables import zoned
from .tables.backfill_table import BackfillTable
from .tables.backfill_table import Scope
from .tables.event_table import Actor
from .tables.event_table import EventTable
from .tables.run_table import RunTable
from .tables.schema import BackfillSchema
from .tables.schema import RunSchema
from .tables.session import AnySession

#: A function that takes a run and returns its metrics.
Runner = Callable[[t.Any], Mapping[str, t.Any] | None]

#: From an action and a pipeline to nothing, or a refusal.
Allow = Callable[[str, str], None]

#: From an action, a pipeline (``None`` for the row's own) and a backfill to its pipeline.
AllowOne = Callable[[str, t.Optional[str], t.Any], str]


class Host:
    """The parts of one blueprint; the parameters are those of ``BackfillBlueprint``."""

    def __init__(
        self,
        name: str,
        model: type[t.Any],
        session: AnySession,
        *,
        authorize: Authorize,
        scope: Scope | None,
        schema: type[BackfillSchema],
        transitions: Transitions | None,
        run_model: type[t.Any] | None,
        timezone: str,
        end: str,
        pipelines: Pipelines | None,
        event_model: type[t.Any] | None,
        actor: Actor | None,
        local_datetimes: bool,
        allow: Allow,
        allow_one: AllowOne,
    ) -> None:
        if not callable(authorize):
            raise TypeError(
                "authorize must be a function, such as api_key(): see flask_backfills.auth"
            )
        require_function(authorize, "authorize", "action", "pipeline_uuid")
        require_plain(session, "the session")
        if scope is not None:
            require_function(scope, "scope", "query")
        if pipelines is not None:
            require_function(pipelines, "pipelines")
        _require_schema(schema)
        _require_transitions(transitions)
        if actor is not None and event_model is None:
            raise TypeError("actor= says who an event is by: pass event_model= too")
        if actor is not None:
            require_function(actor, "actor")
        if end not in ("inclusive", "exclusive"):
            raise ValueError(f"end must be 'inclusive' or 'exclusive', not {end!r}")
        columns.require(model, "pipeline_uuid")
        self.name = name
        self.table = BackfillTable(model, session, scope)
        self.authorize = authorize
        #: Refuses a caller who is not allowed to do something in a pipeline.
        self.allow = allow
        #: The same for one backfill; gives its pipeline.
        self.allow_one = allow_one
        self.schema_class = schema
        self.transitions = transitions
        self.run_model = run_model
        self.event_model = event_model
        self.actor = actor
        self.zone = _zone(timezone)
        self.local_datetimes = local_datetimes
        self.pipelines = pipelines
        self.inclusive = end == "inclusive"
        self.generators: dict[str, Generator] = {}
        self.runner: Runner | None = None

    def may(self, action: str, pipeline_uuid: str) -> bool:
        """Whether the caller is allowed to do something in a pipeline."""
        try:
            self.allow(action, pipeline_uuid)
        except HTTPException:
            return False
        return True

    def check(self) -> None:
        """Make what can't be made of models that can't be served.

        :raises TypeError: naming the model and what it lacks.
        """
        models.check_backfills(self.schema)
        kinds.check(self.schema, BackfillSchema)
        if self.run_model is not None:
            kinds.check(self.run_table.schema, RunSchema)
        self.events  # noqa: B018

    def remarks(self) -> list[str]:
        """What the host may have overlooked in models that can be served."""
        found = [*remarks.on_backfills(self.schema)]
        if self.run_model is not None and not self.generators:
            found += remarks.on_windows(self.table.model)
        if self.run_model is not None:
            found += remarks.on_runs(self.run_table.mapper, self.run_table.columns)
        if self.events is not None:
            found += remarks.on_events(self.events.mapper, self.events.columns)
        return found

    @cached_property
    def schema(self) -> BackfillSchema:
        """The schema, with the limits of the model's columns."""
        schema = self.schema_class(self.table.model)
        if self.wire_zone is not None:
            zoned.use_zone(schema, self.wire_zone)
        return schema

    @property
    def wire_zone(self) -> tzinfo | None:
        """The zone of windows on the wire; ``None`` if they are in UTC, without an offset."""
        return self.zone if self.local_datetimes and self.zone is not timezone.utc else None

    @cached_property
    def local_window(self) -> zoned.LocalWindow:
        """Turns windows as people write and read them, in the zone, into those on the wire."""
        return zoned.LocalWindow(self.schema, self.zone)

    @cached_property
    def run_table(self) -> RunTable:
        if self.run_model is None:
            raise RuntimeError("this blueprint has no runs: pass run_model= to BackfillBlueprint")
        return RunTable(self.table, self.schema, self.run_model)

    @cached_property
    def events(self) -> EventTable | None:
        """The history of all backfills; ``None`` without an event model."""
        if self.event_model is None:
            return None
        return EventTable(self.table, self.schema, self.event_model, self.actor)

    @cached_property
    def runs(self) -> MessageQueue:
        """The queue that workers use.

        :raises RuntimeError: if there is no run model.
        """
        return MessageQueue(self.table, self.rollup, self.progress, self.expansion.variables_of)

    @cached_property
    def rollup(self) -> Rollup:
        """What follows for a backfill from its runs."""
        return Rollup(self.run_table, self.schema, self.events)

    @cached_property
    def planned(self) -> Planned:
        """The runs of backfills, as plans see them."""
        return Planned(self.run_table, self.rollup)

    @cached_property
    def progress(self) -> Progress:
        """How the runs stand.

        :raises RuntimeError: if there is no run model.
        """
        return Progress(self.run_table)

    @cached_property
    def listing(self) -> Listing:
        """Lists of runs, filtered and sorted.

        :raises RuntimeError: if there is no run model.
        """
        return Listing(self.run_table)

    @cached_property
    def backfills(self) -> Backfills:
        """The backfills, as routes, commands and pages change them."""
        has_runs = self.run_model is not None
        return Backfills(
            self.table,
            self.schema,
            self.transitions,
            self.expansion,
            self.planned if has_runs else None,
            self.progress if has_runs else None,
            self.pipelines,
            self.events,
        )

    @cached_property
    def changed_runs(self) -> ChangedRuns:
        """Single runs and many, as people change them."""
        return ChangedRuns(self.table, self.planned)

    @cached_property
    def explaining(self) -> Explaining:
        """Why backfills and runs stand as they do.

        :raises RuntimeError: if there is no run model.
        """
        return Explaining(Why(self.runs.hand_out.next, self.progress), self.expansion)

    @cached_property
    def expansion(self) -> Expansion:
        """Computes the runs of a backfill."""
        run_schema = None if self.run_model is None else self.run_table.schema
        return Expansion(self.schema, run_schema, self.zone, self.inclusive, self.generators)


class Served(t.Protocol):
    """A ``BackfillBlueprint``, as far as the parts beside it know it."""

    @property
    def host(self) -> Host: ...


def host_of(served: Served | Host) -> Host:
    """The host of a blueprint, or that very host."""
    return served if isinstance(served, Host) else served.host


def _require_schema(schema: t.Any) -> None:
    if not isinstance(schema, type) or not issubclass(schema, BackfillSchema):
        raise TypeError(
            f"schema must be BackfillSchema or a subclass of it, the class itself, not {schema!r}:"
            " leave schema= out for BackfillSchema"
        )


def _require_transitions(transitions: t.Any) -> None:
    if transitions is None:
        return
    if not isinstance(transitions, Mapping):
        raise TypeError(
            "transitions must be a mapping from each status to those that may follow it, such as"
            f' {{"failed": ["initial"]}}, or None to allow all, not {transitions!r}'
        )
    for status, following in transitions.items():
        if isinstance(following, str) or not isinstance(following, Collection):
            raise TypeError(
                f"transitions[{status!r}] must be the statuses that may follow, such as"
                f' ["initial"], not {following!r}'
            )


def _zone(name: str) -> tzinfo:
    # Known without a database of zones, which a small machine may lack.
    return timezone.utc if name == "UTC" else ZoneInfo(name)
