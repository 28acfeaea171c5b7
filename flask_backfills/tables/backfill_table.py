"""Finds and locks rows of the host's table of backfills, and reads pages of them."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Collection
from functools import cached_property

import sqlalchemy as sa
from sqlalchemy.orm import lazyload
from sqlalchemy.orm import Mapper
from sqlalchemy.orm import Session

from .. import errors
from . import columns
from .database import Database
from .fields import held
from .fields import storable
from .session import AnySession
from .session import opener

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
            found = self.session.scalars(self._of_pipeline_locked, values).one_or_none()
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
        if not self._pads and str(self.key_of(found)) != str(backfill_id):
            raise errors.NotFound()
        return found

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
        if self._pipeline_column is None:
            return pipeline_uuid if storable(pipeline_uuid) else None
        return held(self._pipeline_column, pipeline_uuid, self._dialect)

    def _dialect(self) -> sa.Dialect:
        return self.database.dialect

    @cached_property
    def _key_column(self) -> sa.Column[t.Any]:
        return columns.key_column(self.mapper)

    @cached_property
    def _pipeline_column(self) -> sa.Column[t.Any] | None:
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
        query = query.with_for_update(of=self.model, key_share=True, skip_locked=skip_locked)
        return query.execution_options(populate_existing=True)

    def of_pipelines(self, pipelines: Collection[str]) -> t.Any:
        """The criterion that a backfill is of one of some pipelines, whose names may be none."""
        known = [one for name in pipelines if (one := self.pipeline_of(name)) is not None]
        found = self.model.pipeline_uuid.in_(known)
        exact = self._exact_pipeline
        if exact is None:
            return found
        # The first criterion has an index, the second no rows of others.
        in_bytes = self.database.mysql is not None
        return found & exact.in_([one.encode() if in_bytes else one for one in known])

    def pipelines(self) -> list[str]:
        """The pipelines that have visible backfills."""
        exact = self._exact_pipeline
        apart = [] if exact is None else [exact.label("exact")]
        query = self.select().with_only_columns(self.model.pipeline_uuid, *apart).distinct()
        return sorted(str(pipeline_uuid) for pipeline_uuid, *_ in self.database.execute(query))

    @cached_property
    def _pads(self) -> bool:
        """Whether the key is filled up with spaces, so that it is not what was sent."""
        return isinstance(columns.plain_type(self._key_column), sa.CHAR)

    @property
    def _exact_pipeline(self) -> t.Any:
        """The pipeline as its column holds it; ``None`` for no plain text."""
        column = self._pipeline_column
        if column is None or not isinstance(column.type, sa.String):
            return None
        if isinstance(column.type, sa.Enum):
            return None
        return columns.exact(self.model.pipeline_uuid, self.database.dialect)

    def page(self, criteria: list[t.Any], offset: int, limit: int) -> tuple[list[t.Any], int]:
        """A page of the backfills that meet some criteria, newest first, and how many do."""
        query = self.select(*criteria)
        order = [self.key.desc()]
        if columns.column_of(self.mapper, "created_at") is not None:
            order.insert(0, self.model.created_at.desc())
        counted = query.with_only_columns(sa.func.count(self.key))
        total = self.database.execute(counted).scalar()
        page = query.order_by(*order).offset(offset).limit(limit)
        return list(self.session.scalars(page).unique()), total or 0

    def hold(self, backfill_id: t.Any, *, skip_locked: bool = False) -> t.Any:
        """One backfill, locked, whatever the scope; ``None`` if it is gone.

        :param skip_locked: ``None`` too if somebody else has it locked.
        """
        self.database.begin_writing()
        query = self._of_any_free if skip_locked else self._of_any_locked
        return self.session.scalars(query, {"backfill_id": backfill_id}).unique().one_or_none()
