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
from .fields import may_be_key
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
        """A SELECT of the visible rows."""
        query = sa.select(self.model).where(*criteria)
        return query if self.scope is None else self.scope(query)

    def find(self, pipeline_uuid: str | None, backfill_id: t.Any, *, lock: bool = False) -> t.Any:
        """One backfill of one pipeline, or of any if ``pipeline_uuid`` is ``None``.

        :param lock: hold it, from before it is read to the end of the transaction; then
            its pipeline must be known.
        :raises flask_backfills.errors.NotFound: if that pipeline has no such backfill.
        """
        if not storable(pipeline_uuid or "") or not may_be_key(self.mapper, backfill_id):
            raise errors.NotFound()
        query = self._of_any if pipeline_uuid is None else self._of_pipeline
        if lock:
            self.database.begin_writing()
            query = self._of_pipeline_locked
        if self.scope is not None:
            query = self.scope(query)
        values = {"backfill_id": backfill_id, "pipeline_uuid": pipeline_uuid}
        rows = self.session.scalars(query, values)
        # A joined relationship repeats the row; a locked SELECT has none.
        found = rows.one_or_none() if lock else rows.unique().one_or_none()
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
        if self.scope is None:
            return True
        query = self.select(self.key == self.key_of(backfill)).with_only_columns(self.key)
        return self.database.execute(query).first() is not None

    # Made once, since SQLAlchemy knows a statement that it has seen without looking at it again.

    @cached_property
    def _of_any(self) -> t.Any:
        key: t.Any = sa.bindparam("backfill_id", type_=self.key.type)
        if columns.python_type(columns.key_column(self.mapper)) is str:
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
        known = [pipeline_uuid for pipeline_uuid in pipelines if storable(pipeline_uuid)]
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
        return isinstance(columns.plain_type(columns.key_column(self.mapper)), sa.CHAR)

    @property
    def _exact_pipeline(self) -> t.Any:
        """The pipeline as its column holds it; ``None`` for no plain text."""
        column = columns.column_of(self.mapper, "pipeline_uuid")
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
        counted = sa.select(sa.func.count()).select_from(query.subquery())
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
