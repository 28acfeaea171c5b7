"""The canary of a backfill: the few runs that are done first, before it pauses itself.

Their keys stand in the backfill's row, which a claim has locked. While they stand there, no other
run is handed out, whatever has crashed: the pause may be written later. They are taken away when
somebody lets the backfill go on.
"""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from ..rules.canary import telling
from ..rules.lifecycle import ACTIVE
from ..rules.settings import canary_of
from ..rules.settings import is_paused
from ..tables import columns
from ..tables.assign import assign
from ..tables.assign import Changes
from ..tables.backfill_table import BackfillTable
from ..tables.run_table import RunTable
from ..tables.schema import BackfillSchema

#: The attribute of a backfill that holds the keys.
ATTRIBUTE = "canary_runs"

#: The settings by which runs wait for a moment, or are left out.
_DECISIVE = ("only_ended", "skip_covered")


def is_mapped(table: BackfillTable) -> bool:
    """Whether a backfill can hold the keys of its canary."""
    column = columns.column_of(table.mapper, ATTRIBUTE)
    return column is not None and isinstance(columns.plain_type(column), sa.JSON)


def keys_of(backfill: t.Any) -> list[str]:
    """The keys of the canary of a backfill, or of a row of it; none if nothing waits for it."""
    keys = getattr(backfill, ATTRIBUTE, None)
    if canary_of(getattr(backfill, "settings", None)) is None or not isinstance(keys, list):
        return []
    return [key for key in keys if isinstance(key, str)]


def choose(runs: RunTable, backfill: t.Any) -> None:
    """Choose the canary anew, among the runs that wait; none if it would be all of them."""
    lift(runs.backfills, backfill)
    count = canary_of(getattr(backfill, "settings", None))
    if count is None or not is_mapped(runs.backfills):
        return
    end = runs.columns.get("interval_end_datetime", sa.null())
    query = sa.select(runs.columns["key"], runs.date, end)
    query = query.where(runs.of(backfill), runs.has("initial"), *runs.wanted_only())
    query = query.order_by(runs.date, runs.columns["id"])
    found = list(runs.database.execute(runs.database.latest(query)))
    if count >= len(found):
        return
    if backfill.settings.get("only_ended") is True:
        # Those that have to wait themselves would hold up all others.
        now = runs.now()
        past = [row for row in found if row[2] and columns.in_utc(row[2], True) <= now]
        found = past or found
    lengths = [
        None if None in (date, end) else columns.in_utc(end, False) - columns.in_utc(date, False)
        for _, date, end in found
    ]
    setattr(backfill, ATTRIBUTE, [found[place][0] for place in telling(lengths, count)])


def lift(table: BackfillTable, backfill: t.Any) -> None:
    """Let the other runs of a backfill go on."""
    if is_mapped(table) and getattr(backfill, ATTRIBUTE) is not None:
        setattr(backfill, ATTRIBUTE, None)


def follow(runs: RunTable, backfill: t.Any, old: t.Any, new: t.Any) -> None:
    """Let the canary follow a change of the settings of an active backfill."""
    is_open = keys_of(backfill) and not (is_paused(old) and has_ended(runs, backfill))
    if canary_of(old) != canary_of(new) or (is_open and _decides_otherwise(old, new)):
        choose(runs, backfill)
    elif is_paused(old) and not is_paused(new) and has_ended(runs, backfill):
        lift(runs.backfills, backfill)


def _decides_otherwise(old: t.Any, new: t.Any) -> bool:
    """Whether runs that were chosen may have to wait themselves now, or be left out."""
    before, after = (one if isinstance(one, dict) else {} for one in (old, new))
    return any(bool(before.get(name)) != bool(after.get(name)) for name in _DECISIVE)


def has_ended(runs: RunTable, backfill: t.Any) -> bool:
    """Whether there is a canary whose runs have ended; one that waits for its next try has not."""
    keys = keys_of(backfill)
    if not keys:
        return False
    of_it = runs.of(backfill), runs.columns["key"].in_(keys), runs.has(*ACTIVE)
    query = sa.select(runs.columns["id"]).where(*of_it).limit(1)
    return runs.database.execute(runs.database.latest(query)).first() is None


def pause(runs: RunTable, schema: BackfillSchema, backfill: t.Any) -> Changes:
    """Pause a backfill whose canary has ended. If we die before the commit, the next one does it."""
    if is_paused(getattr(backfill, "settings", None)) or not has_ended(runs, backfill):
        return {}
    return assign(backfill, {"settings": {**backfill.settings, "paused": True}}, schema, {})


def figures(runs: RunTable, backfill: t.Any) -> dict[str, int]:
    """How many runs the canary has, how many of them have ended, and how many have failed."""
    keys = keys_of(backfill)
    if not keys:
        return {}
    its_own = runs.of(backfill), runs.columns["key"].in_(keys)
    query = runs.count_by(runs.columns["status"]).where(*its_own)
    counts = {runs.word(status): count for status, count in runs.database.execute(query)}
    active = sum(counts.get(word, 0) for word in ACTIVE)
    return {
        "chosen": len(keys),
        "chosen_ended": len(keys) - active,
        "chosen_failed": counts.get("failed", 0),
    }


def idle(runs: RunTable, found: dict[t.Any, list[str]], past: t.Any, now: t.Any) -> set[t.Any]:
    """The backfills whose canary is running, or waits, so that there is nothing to hand out.

    :param found: the keys of their canaries, by their own.
    :param past: the criterion that a run that waits need not wait longer, and its parameters.
    """
    if not found:
        return set()
    of_it, key = runs.columns["backfill_id"], runs.columns["key"]
    every = {one for keys in found.values() for one in keys}
    query = sa.select(of_it, key, runs.has("initial") & past)
    query = query.where(of_it.in_(found), key.in_(every), runs.has(*ACTIVE))
    active, due = set(), set()
    for backfill_id, name, is_due in runs.database.execute(query, now):
        if name in found[backfill_id]:
            active.add(backfill_id)
            if is_due:
                due.add(backfill_id)
    # One whose canary has ended is to be paused.
    return active - due
