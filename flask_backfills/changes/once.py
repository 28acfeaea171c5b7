"""A create with an Idempotency-Key: the backfill that an earlier request has made with it.

Two requests at once are told apart by the unique constraint of the table. Each first stores what
all marks with its key begin with, so that the second one waits for the end of the first, and then
finds what that has stored. Only then it stores the mark that says which body it has.
"""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from .. import errors
from ..rules import idempotency
from ..rules.idempotency import Mark
from ..tables import columns
from ..tables import lists
from ..tables.backfill_table import BackfillTable


class MadeMeanwhile(Exception):
    """Another request with the same key has made its backfill while this one waited for it."""


def longest(table: BackfillTable) -> int:
    """How many characters a key may have; 0 if the host's model can't hold any."""
    column = columns.column_of(table.mapper, "idempotency_key")
    kind = None if column is None else columns.plain_type(column)
    if not isinstance(kind, sa.String) or isinstance(kind, sa.Enum):
        return 0
    return idempotency.longest(kind.length)


def mark(table: BackfillTable, pipeline_uuid: str, key: str, sent: dict[str, t.Any]) -> Mark:
    """What is stored of a key.

    :raises flask_backfills.errors.KeyRefused: for one that can't be used.
    """
    if reason := idempotency.refusal(key, longest(table)):
        raise errors.KeyRefused(reason)
    return idempotency.mark(pipeline_uuid, key, sent)


def made_before(table: BackfillTable, pipeline_uuid: str, mark: Mark) -> t.Any:
    """The backfill that the same request has made before; ``None`` if none has.

    :raises flask_backfills.errors.KeyRefused: if another request has used the key.
    """
    query = _with_key(table, table.model, pipeline_uuid, mark)
    found = table.session.scalars(query).unique().first()
    if found is None:
        return None
    # What the scope hides is as another's: nothing of it is told.
    if not mark.is_of(found.idempotency_key) or not table.is_visible(found):
        raise errors.KeyRefused("Was used for another request. Send a new one.")
    return found


def begin(backfill: t.Any, mark: Mark) -> None:
    """Keep others with this key waiting, once the new backfill is flushed."""
    backfill.idempotency_key = mark.first


def take(table: BackfillTable, backfill: t.Any, mark: Mark) -> None:
    """Mark a new backfill that is flushed.

    :raises MadeMeanwhile: if the key is taken.
    """
    others = _with_key(table, table.key, str(backfill.pipeline_uuid), mark)
    if table.session.scalars(others.where(table.key != table.key_of(backfill))).first() is not None:
        raise MadeMeanwhile()
    backfill.idempotency_key = str(mark)


def _with_key(table: BackfillTable, what: t.Any, pipeline_uuid: str, mark: Mark) -> t.Any:
    """A SELECT of the backfill of a pipeline that has a key, whatever the scope."""
    of_pipeline = lists.of_pipelines(table, [pipeline_uuid])
    held = table.model.idempotency_key.between(*mark.range)
    return table.database.latest(sa.select(what).where(of_pipeline, held))
