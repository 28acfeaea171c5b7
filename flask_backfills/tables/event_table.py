"""The host's table of events: the history of each backfill, written in the transaction of a change.

Its rows refer to a backfill by its key alone, so that they stay when the backfill is deleted.
"""

from __future__ import annotations

import json
import os
import socket
import typing as t
from collections.abc import Callable
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from datetime import timezone
from functools import cached_property

import sqlalchemy as sa
from flask import has_request_context

from .. import config
from ..answering import dumps
from ..rules.history import ACTIONS
from ..rules.history import bounded
from ..rules.history import readable
from . import columns
from . import event_models
from . import models
from .backfill_table import BackfillTable
from .database import Database
from .fields import AsColumn
from .fields import Choice
from .fields import JSONObject
from .fields import Text
from .fields import UTCDateTime
from .fields import WholeNumber
from .run_table import fitting
from .schema import BackfillSchema
from .schema import ModelSchema
from .zoned import fields_of_window
from .zoned import reshown

#: A function of the host's that says who acts; ``None`` if it does not know.
Actor = Callable[[], t.Any]

#: Who acts where no function says so, such as the user of a command.
acting: ContextVar[str | None] = ContextVar("flask_backfills.acting", default=None)

Changes = Mapping[str, Mapping[str, t.Any]]


class EventSchema(ModelSchema):
    """The attributes of an event, as the API shows them."""

    id = AsColumn()
    action = Choice(ACTIONS)
    actor = Text()
    backfill_id = AsColumn()
    changes = JSONObject()
    created_at = UTCDateTime()
    pipeline_uuid = AsColumn()
    run_count = WholeNumber()
    run_key = Text()


class EventTable:
    """A host's event model, as far as it maps what an event may have.

    :param backfills: the table that the events are of.
    :param actor: says who acts; ``None`` if the host does not tell.
    :raises TypeError: if the model lacks what events can't do without.
    """

    def __init__(
        self,
        backfills: BackfillTable,
        schema: BackfillSchema,
        model: type[t.Any],
        actor: Actor | None,
    ) -> None:
        columns.require(model, *event_models.NEEDED)
        self.backfills = backfills
        self.database: Database = backfills.database
        self.model = model
        self.actor = actor
        self.schema = EventSchema(model)
        self.mapper = columns.mapper_of(model)
        #: What is shown of a backfill: a schema may have changed since an event was written.
        self._shown = {one.data_key or name for name, one in schema.dump_fields.items()}
        self._windows = fields_of_window(schema)
        self.columns = {
            name: column
            for name in EventSchema._declared_fields
            if (column := columns.column_of(self.mapper, name)) is not None
        }
        self.columns["id"] = columns.key_column(self.mapper)
        event_models.check_events(self.schema, self.columns, backfills.mapper)
        self._discriminator = models.discriminator(self.mapper)
        self._its_own = models.its_own(self.mapper)

    # Writing

    def add(
        self,
        backfill: t.Any,
        action: str,
        changes: Changes,
        *,
        by: str | None,
        run_key: str | None = None,
        run_count: int | None = None,
    ) -> None:
        """Write an event in the transaction of the change, with one INSERT.

        :param changes: by attribute, ``{"from": ..., "to": ...}`` as shown.
        :param by: who it was, where the host's function does not say.
        :raises RuntimeError: if the table is in another database than the backfills.
        """
        self._require_one_database()
        most = config.whole("BACKFILLS_MAX_EVENT_VALUE")
        # As JSON has it: a host's own attributes may be of any type.
        told = {key: bounded(json.loads(dumps(one)), most) for key, one in changes.items()}
        row = self._row(
            backfill_id=self.backfills.key_of(backfill),
            pipeline_uuid=backfill.pipeline_uuid,
            created_at=datetime.now(timezone.utc),
            actor=self._actor(by),
            action=action,
            changes=told,
            run_key=run_key,
            run_count=run_count,
        )
        self.database.execute(sa.insert(self.columns["id"].table), {**self._discriminator, **row})

    def _actor(self, by: str | None) -> str | None:
        named = None
        if self.actor is not None:
            try:
                named = self.actor()
            except Exception:
                # Most functions ask for the user of a request, which commands and workers have not.
                if has_request_context():
                    raise
        named = by if named is None else named
        return None if named is None else str(named)

    def _row(self, **values: t.Any) -> dict[str, t.Any]:
        """Values by column, less those that the host's model does not map."""
        row = {}
        for name, value in values.items():
            column = self.columns.get(name)
            if column is not None:
                row[column.key] = self._held(name, column, value)
        return row

    def _held(self, name: str, column: sa.Column[t.Any], value: t.Any) -> t.Any:
        if name == "action":
            return self.schema.member(name, value)
        if name == "created_at":
            return columns.in_utc(value, columns.is_aware(column))
        if name in ("actor", "run_key") and value is not None:
            return fitting(column, value)
        if name == "pipeline_uuid" and isinstance(column.type, sa.String):
            return str(value)
        return value

    def _require_one_database(self) -> None:
        session = self.backfills.session
        mine, theirs = session.get_bind(self.mapper), session.get_bind(self.backfills.mapper)
        if mine.engine is not theirs.engine:
            raise RuntimeError(event_models.apart(self.mapper, self.backfills.mapper))

    # Reading

    def page(self, backfill: t.Any, offset: int, limit: int) -> tuple[list[t.Any], int]:
        """A page of the events of a backfill, newest first, and how many there are."""
        of_it = self._of(backfill)
        counted = sa.select(sa.func.count()).select_from(self.columns["id"].table).where(*of_it)
        total = self.database.execute(counted).scalar()
        query = self._newest_first.where(*of_it).offset(offset).limit(limit)
        return self.database.execute(query).all(), total or 0

    def newest(self, backfill: t.Any, action: str, *, held: bool = False) -> t.Any:
        """The newest event of a backfill with an action, as a row; ``None`` if there is none.

        :param held: whether the backfill is locked, so that what others have committed counts.
        """
        wanted = self.columns["action"] == self.schema.member("action", action)
        query = self._newest_first.where(*self._of(backfill), wanted).limit(1)
        return self.database.execute(self.database.latest(query) if held else query).first()

    def show(self, event: t.Any) -> dict[str, t.Any]:
        """An event as in the API, with the attributes alone that a backfill shows."""
        shown: dict[str, t.Any] = self.schema.dump(event)
        changes = readable(shown["changes"])
        if shown["action"] not in ("update_run", "update_runs"):
            changes = {
                key: reshown(self._windows[key], one) if key in self._windows else one
                for key, one in changes.items()
                if key in self._shown
            }
        return {**shown, "changes": changes}

    @cached_property
    def _newest_first(self) -> t.Any:
        names = self.schema.fields
        # Plain rows: whatever else the model has, or loads with it, is not shown.
        found = [
            self.columns[name].label(self.schema.fields[name].attribute or name)
            for name in names
            if name in self.columns
        ]
        order = self.columns["id"].desc()
        query = sa.select(*found)
        return query.order_by(order) if self._counts else query.order_by(self._mark.desc(), order)

    @property
    def _counts(self) -> bool:
        """Whether the keys of later events are greater: they are made while the backfill is held."""
        return columns.python_type(self.columns["id"]) is int

    @property
    def _mark(self) -> sa.Column[t.Any]:
        return self.columns["id" if self._counts else "created_at"]

    def _of(self, backfill: t.Any) -> tuple[t.Any, ...]:
        """The criteria of the events of a backfill.

        A database may give the key of a deleted backfill to a new one, which is none of the old
        one's history.
        """
        action, mark = self.columns["action"], self._mark
        of_it = self.columns["backfill_id"] == self.backfills.key_of(backfill), *self._its_own
        made, gone = (self.schema.member("action", word) for word in ("create", "delete"))
        first = sa.select(sa.func.max(mark)).where(*of_it, action.in_([made, gone]))
        since = sa.func.coalesce(first.correlate(None).scalar_subquery(), mark)
        return *of_it, action != gone, mark >= since


def worker_name() -> str:
    """Who a worker is, for those who read the history."""
    return f"worker:{socket.gethostname()[:200]}:{os.getpid()}"
