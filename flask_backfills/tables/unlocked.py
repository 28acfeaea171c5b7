"""Runs that nobody has locked: a host may keep the row of a run locked for as long as it likes."""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from collections.abc import Mapping

import sqlalchemy as sa

from .run_table import RunTable


def unlocked(runs: RunTable, ids: Collection[t.Any]) -> set[t.Any]:
    """The ids of those runs that can be written, and that are locked from now on."""
    return unlocked_of(runs, runs.columns["id"].in_(ids), referred=True)


def unlocked_of(runs: RunTable, *criteria: t.Any, referred: bool = False) -> set[t.Any]:
    """The ids of the runs that nobody has locked, and that are locked from now on.

    :param referred: those too that rows of somebody's open transaction refer to, where the
        database can write them all the same.
    """
    query = sa.select(runs.columns["id"]).where(*criteria)
    query = query.with_for_update(skip_locked=True, key_share=referred)
    return set(runs.database.execute(query).scalars())


def update_unlocked(
    runs: RunTable, values: Mapping[str, t.Any], ids: Collection[t.Any]
) -> set[t.Any]:
    """Write a row's values to those runs that nobody has locked; the ids of those."""
    key = runs.columns["id"]
    if runs.database.dialect.name == "postgresql":
        # In one statement, which MySQL does not have.
        free = sa.select(key).where(key.in_(ids)).with_for_update(skip_locked=True, key_share=True)
        query = sa.update(runs.table).where(key.in_(free)).values(values).returning(key)
        return set(runs.database.execute(query).scalars())
    found = set(ids) if runs.database.is_sqlite else unlocked(runs, ids)
    runs.update(values, key.in_(found))
    return found
