"""What a run may wait for, beside its turn: as criteria that the claim's SELECTs have."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import sqlalchemy as sa

from ..tables.run_table import moment
from ..tables.run_table import RunTable

#: The columns that are compared with the current moment, and the parameter of each.
_NOW = {"available_at": "now", "interval_end_datetime": "now_ended", "execution_date": "now_begun"}

#: By the code of a reason, the criterion that a run need not wait for it.
Criteria = dict[str, t.Any]


def criteria(runs: RunTable, settings: Mapping[str, t.Any], canary: bool = False) -> Criteria:
    """What a waiting run must be past to be handed out, as the settings of its backfill say.

    Their parameters are those of :func:`parameters`.

    :param canary: whether only those of the canary may be, whose keys are a parameter.
    """
    found = between_tries(runs)
    if settings.get("only_ended"):
        found |= ended(runs)
    if canary:
        key = runs.columns["key"]
        chosen = sa.bindparam("canary", type_=key.type, expanding=True)
        found["canary"] = key.in_(chosen)
    return found


def between_tries(runs: RunTable) -> Criteria:
    """That a run need not wait any longer for its next try."""
    at = runs.columns.get("available_at")
    return {} if at is None else {"next_try": at.is_(None) | _is_past(at, "available_at")}


def ended(runs: RunTable) -> Criteria:
    """That the interval of a run has ended.

    One without an end has at least begun; one without a date waits for no time.
    """
    end = runs.columns.get("interval_end_datetime")
    begun = runs.date.is_(None) | _is_past(runs.date, "execution_date")
    if end is None:
        return {"not_ended": begun}
    return {"not_ended": begun & (end.is_(None) | _is_past(end, "interval_end_datetime"))}


def parameters(runs: RunTable) -> dict[str, t.Any]:
    """The values of the parameters of :func:`criteria`, now by the database's clock."""
    now = runs.now()
    return {
        parameter: moment(column, now)
        for name, parameter in _NOW.items()
        if (column := runs.columns.get(name)) is not None
    }


def _is_past(column: sa.Column[t.Any], name: str) -> t.Any:
    return column <= sa.bindparam(_NOW[name], type_=column.type)
