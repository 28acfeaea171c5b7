"""Finds and locks rows of the host's table of backfills; its lists stand in :mod:`.lists`."""

from __future__ import annotations

import random
import time
import typing as t
from collections.abc import Callable
from functools import cached_property
from functools import partial

import sqlalchemy as sa
from sqlalchemy.orm import lazyload
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import Session

from .. import errors
from . import columns
from .columns import storable
from .database import Database
from .fields import held
from .patience import read
from .session import AnySession
from .session import opener

#: Seconds between two tries to lock a backfill that somebody else has locked.
MOMENTS = (0.02, 0.05, 0.1, 0.2, 0.4)

#: The same where nobody else tries soon: others may lock it again and again for a moment.
_LONGER = (*MOMENTS, *(0.3, 0.5) * 6)

#: A function that narrows a SELECT.
Scope = Callable[[t.Any], t.Any]


class BackfillTable:
    """The host's model, its session, and the scope that limits which rows are visible."""

    def __init__(
        self,
        model: type[t.Any],
        session: AnySession,
        scope: Scope | None = None,
    ) -> None:
        self.model = model
        self.opener = opener(session)
        self.scope = scope

    @property
    def session(self) -> Session:
        """The session of this thread."""
        return self.opener()

    @cached_property
    def database(self) -> Database:
        return Database(self.opener, self.mapper)

    @cached_property
    def mapper(self) -> Mapper[t.Any]:
        return columns.mapper_of(self.model)

    @cached_property
    def key(self) -> t.Any:
        """The attribute of the primary key."""
        return getattr(self.model, columns.key_attribute(self.mapper))

    def key_of(self, backfill: t.Any) -> t.Any:
        return getattr(backfill, self.key.key)

    def select(self, *criteria: t.Any) -> t.Any:
        """A SELECT of the visible rows that meet some criteria, each of them once."""
        return self._visible(sa.select(self.model).where(*criteria))

    def _visible(self, query: t.Any) -> t.Any:
        if self.scope is None:
            return query
        narrowed = self.scope(query)
        # The host may join what has several rows for one of ours, or group them.
        keys = narrowed.with_only_columns(self.key).subquery()
        visible = sa.select(self.model).where(self.key.in_(sa.select(keys.c[0])))
        # Its options may have criteria too, which count for a whole statement alone.
        return visible.options(*narrowed._with_options)

    def find(self, pipeline_uuid: str | None, backfill_id: t.Any, *, lock: bool = False) -> t.Any:
        """One backfill of one pipeline, or of any if ``pipeline_uuid`` is ``None``.

        :param lock: hold it, from before it is read to the end of the transaction; then
            its pipeline must be known.
        :raises flask_backfills.errors.NotFound: if that pipeline has no such backfill.
        """
        values = {"backfill_id": held(self._key_column, backfill_id, self._dialect)}
        if pipeline_uuid is not None:
            values["pipeline_uuid"] = self.pipeline_of(pipeline_uuid)
        if None in values.values():
            raise errors.NotFound()
        query = self._of_any if pipeline_uuid is None else self._of_pipeline
        if lock:
            self.database.begin_writing()
            found = self._latest(self._of_pipeline_locked, values).one_or_none()
            # By its key alone, and what else makes it visible after that: the lock may have
            # been waited for, and is the first that the transaction reads.
            if found is not None and not self._is_visible(query, values):
                found = None
        else:
            # A joined relationship repeats the row; a locked SELECT has none.
            rows = self.session.scalars(self._visible(query), values)
            found = rows.unique().one_or_none()
        if found is None:
            raise errors.NotFound()
        # A case-insensitive collation finds others too.
        if pipeline_uuid not in (None, str(found.pipeline_uuid)):
            raise errors.NotFound()
        if not self._is_same(self.key_of(found), backfill_id):
            raise errors.NotFound()
        return found

    def locate(self, backfill_id: t.Any) -> str:
        """The pipeline of a visible backfill.

        Nothing else of the row is read, so that it takes as long as for one that is not there.

        :raises flask_backfills.errors.NotFound: if there is no such backfill.
        """
        value = held(self._key_column, backfill_id, self._dialect)
        if value is None:
            raise errors.NotFound()
        query = self._visible(self._of_any).with_only_columns(self.model.pipeline_uuid, self.key)
        execute = partial(self.database.execute, query, {"backfill_id": value})
        found = read(self.database.opener, lambda: execute().first())
        if found is None or not self._is_same(found[1], backfill_id):
            raise errors.NotFound()
        return str(found[0])

    def _is_same(self, key: t.Any, backfill_id: t.Any) -> bool:
        """Whether a key is what was asked for, and not only equal by a collation."""
        return self._pads or str(key) == str(backfill_id)

    def is_visible(self, backfill: t.Any) -> bool:
        """Whether the scope shows a backfill that is stored in this transaction."""
        query = sa.select(self.model).where(self.key == self.key_of(backfill))
        return self._is_visible(query, {})

    def _is_visible(self, query: t.Any, values: dict[str, t.Any]) -> bool:
        if self.scope is None:
            return True
        visible = self.scope(query).with_only_columns(self.key)
        return self.session.scalars(visible, values).first() is not None

    def pipeline_of(self, pipeline_uuid: str) -> t.Any:
        """What the column holds for the name of a pipeline; ``None`` if it can't hold that."""
        if self.pipeline_column is None:
            return pipeline_uuid if storable(pipeline_uuid) else None
        return held(self.pipeline_column, pipeline_uuid, self._dialect)

    def _dialect(self) -> sa.Dialect:
        return self.database.dialect

    @cached_property
    def _key_column(self) -> sa.Column[t.Any]:
        return columns.key_column(self.mapper)

    @cached_property
    def pipeline_column(self) -> sa.Column[t.Any] | None:
        return columns.column_of(self.mapper, "pipeline_uuid")

    # Made once, since SQLAlchemy knows a statement that it has seen without looking at it again.

    @cached_property
    def _of_any(self) -> t.Any:
        key: t.Any = sa.bindparam("backfill_id", type_=self.key.type)
        if isinstance(self.key.type, sa.String) and not isinstance(self.key.type, sa.Enum):
            # Its own type would cut what is longer.
            key = sa.bindparam("backfill_id", type_=sa.String())
        return sa.select(self.model).where(self.key == key)

    @cached_property
    def _of_pipeline(self) -> t.Any:
        return self._of_any.where(self.model.pipeline_uuid == sa.bindparam("pipeline_uuid"))

    @cached_property
    def _of_pipeline_locked(self) -> t.Any:
        return self._locked(self._of_pipeline)

    @cached_property
    def _of_any_locked(self) -> t.Any:
        return self._locked(self._of_any)

    @cached_property
    def _of_any_free(self) -> t.Any:
        return self._locked(self._of_any, skip_locked=True)

    def _locked(self, query: t.Any, skip_locked: bool = False) -> t.Any:
        # One SELECT of one table: a joined relationship can't be locked on PostgreSQL. There,
        # the host's rows that refer to this one can still be written (FOR NO KEY UPDATE).
        query = query.options(lazyload("*"))
        return query.with_for_update(of=self.model, key_share=True, skip_locked=skip_locked)

    def _latest(self, query: t.Any, values: dict[str, t.Any]) -> t.Any:
        """Rows as they are now, be it that the session has read them before."""
        session = self.session
        # To look takes longer, and most requests begin with a session that knows nothing.
        known = {"populate_existing": True} if session.identity_map else {}
        return session.scalars(query, values, execution_options=known)

    @cached_property
    def _pads(self) -> bool:
        """Whether the key is filled up with spaces, so that it is not what was sent."""
        return isinstance(columns.plain_type(self._key_column), sa.CHAR)

    def hold(self, backfill_id: t.Any, *, skip_locked: bool = False) -> t.Any:
        """One backfill, locked, whatever the scope; ``None`` if it is gone.

        :param skip_locked: ``None`` too if somebody else has it locked.
        """
        self.database.begin_writing()
        query = self._of_any_free if skip_locked else self._of_any_locked
        return self._latest(query, {"backfill_id": backfill_id}).unique().one_or_none()

    def is_there(self, backfill_id: t.Any) -> bool:
        """Whether there is such a backfill, be it locked."""
        query = self._of_any.with_only_columns(self.key)
        with self.database.transaction(keep=False):
            return self.database.execute(query, {"backfill_id": backfill_id}).first() is not None

    def hold_soon(self, backfill_id: t.Any) -> t.Any:
        """The same; ``None`` too if somebody else has it locked for longer than some seconds."""
        backfill = self.hold(backfill_id, skip_locked=True)
        for pause in _LONGER:
            if backfill is not None or self.database.is_sqlite:
                break
            time.sleep(pause * random.uniform(0.5, 1))
            backfill = self.hold(backfill_id, skip_locked=True)
        return backfill
