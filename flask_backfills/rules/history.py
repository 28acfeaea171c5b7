"""What the history of a backfill tells of a change: from what to what, attribute by attribute."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Collection
from collections.abc import Mapping

from .canonical import canonical

#: What is done to a backfill or to its runs, as an event tells it.
ACTIONS = (
    "create",
    "update",
    "delete",
    # By people, to one run or to all that have a status.
    "update_run",
    "update_runs",
    # What follows for the backfill from its runs.
    "begin",
    "finish",
    "reopen",
    "pause",
)

#: By the status that follows for a backfill from its runs, the action.
FOLLOWS = {"running": "begin", "completed": "finish", "failed": "finish", "initial": "reopen"}

#: What a start says that does not run again what has failed or was cancelled, by ``reprocess``.
AGAIN = {"all": "everything runs again", "none": "nothing runs again"}


def differences(
    before: Mapping[str, t.Any], after: Mapping[str, t.Any], without: Collection[str] = ()
) -> dict[str, dict[str, t.Any]]:
    """From what to what each attribute was changed; one that is missing is null.

    >>> differences({"name": "June", "id": 6}, {"name": "July", "id": 6})
    {'name': {'from': 'June', 'to': 'July'}}
    >>> differences({"depth": 1}, {"depth": True})
    {'depth': {'from': 1, 'to': True}}

    :param without: the attributes that are left out.
    """
    changes = {}
    for key in sorted({*before, *after} - {*without}):
        old, new = before.get(key), after.get(key)
        # A large object that nobody has touched is not written out.
        if old is not new and canonical(old) != canonical(new):
            changes[key] = {"from": old, "to": new}
    return changes


#: Levels of objects and arrays that a value in an event may have. It stands two levels deep in the
#: event's JSON, and MariaDB's holds no more than 31.
DEEPEST = 29


def bounded(change: Mapping[str, t.Any], most: int) -> dict[str, t.Any]:
    """A change without what is too large or too deep to be kept: how many bytes of JSON that has.

    >>> bounded({"from": None, "to": {"rows": "x" * 90}}, 100)
    {'from': None, 'to': None, 'too_large': {'to': 102}}
    >>> bounded({"from": None, "to": {"rows": "x" * 90}}, 200) == {
    ...     "from": None, "to": {"rows": "x" * 90}
    ... }
    True

    :param most: how many bytes a value may have.
    """
    sizes = {end: len(canonical(value).encode()) for end, value in change.items()}
    large = {
        end: size for end, size in sizes.items() if size > most or _is_deeper(change[end], DEEPEST)
    }
    if not large:
        return dict(change)
    kept = {end: None if end in large else value for end, value in change.items()}
    return {**kept, "too_large": large}


def _is_deeper(value: t.Any, levels: int) -> bool:
    """Whether a value has more levels of objects and arrays.

    >>> _is_deeper({"a": [1]}, 2), _is_deeper({"a": [1]}, 1), _is_deeper("a", 0)
    (False, True, False)
    """
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


def readable(changes: t.Any) -> dict[str, dict[str, t.Any]]:
    """The changes of an event that have the shape of ours: a host may write events of its own.

    >>> readable({"name": {"from": "a", "to": "b", "by": "hand"}, "note": "by hand"})
    {'name': {'from': 'a', 'to': 'b'}}
    >>> readable("all of it")
    {}
    """
    if not isinstance(changes, Mapping):
        return {}
    return {
        key: _readable(change)
        for key, change in changes.items()
        if isinstance(change, Mapping) and change.keys() >= {"from", "to"}
    }


def _readable(change: Mapping[str, t.Any]) -> dict[str, t.Any]:
    ends = {"from": change["from"], "to": change["to"]}
    sizes, again = change.get("too_large"), change.get("reprocess")
    large = {
        end: size
        for end, size in (sizes.items() if isinstance(sizes, Mapping) else ())
        if end in ends and type(size) is int and size >= 0
    }
    return {
        **ends,
        **({"reprocess": again} if again in [*AGAIN] else {}),
        **({"too_large": large} if large else {}),
    }


#: Characters that people are shown of a value in a list of changes.
_SHORT = 60


def told(event: Mapping[str, t.Any], status: str = "status") -> list[str]:
    """What an event has changed, for people: a few words for each attribute.

    >>> told({"action": "update", "changes": {"interval_units": {"from": None, "to": 2}}})
    ['interval_units: null -> 2']
    >>> changes = {"name": {"from": "a", "to": "b"}, "status": {"from": "failed", "to": "initial"}}
    >>> told({"action": "update_runs", "run_count": 35, "changes": changes})
    ['35 runs', 'status: failed -> initial', 'name: a -> b']
    >>> changes = {"failed_at": {"from": None, "to": "2023-07-18 23:30:26.512633"}}
    >>> told({"action": "finish", "changes": changes})
    ['failed_at: null -> 2023-07-18 23:30:26']

    A start that runs again what others don't says so:

    >>> changes = {"status": {"from": "completed", "to": "initial", "reprocess": "all"}}
    >>> told({"action": "update", "changes": changes})
    ['status: completed -> initial (everything runs again)']

    :param event: as the API shows it.
    :param status: the name of the status on the wire.
    """
    # What people look for comes before what the clock has written.
    changes = sorted(event["changes"].items(), key=lambda one: _place(one[0], status))
    return of_runs(event) + [_told(event["action"], key, one) for key, one in changes]


def of_runs(event: Mapping[str, t.Any]) -> list[str]:
    """Which runs an event is about, or how many; nothing if it is about none."""
    key, count = event.get("run_key"), event.get("run_count")
    return [f"run {key}"] if key is not None else [f"{count:,} runs"] if count else []


def _place(key: str, status: str) -> int:
    return 0 if key == status else 2 if key.endswith("_at") else 1


def _told(action: str | None, key: str, change: Mapping[str, t.Any]) -> str:
    sizes = change.get("too_large", {})
    old, new = (
        f"{sizes[end]:,} bytes" if end in sizes else _short(change.get(end))
        for end in ("from", "to")
    )
    # Of what is new or gone, the other end is nothing.
    by_action = {"create": new, "delete": old}
    again = f" ({AGAIN[which]})" if (which := change.get("reprocess")) in AGAIN else ""
    return f"{key}: {by_action.get(action or '', f'{old} -> {new}')}{again}"


#: A moment that was stored with fractions of a second, which nobody reads.
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)\.\d+([+-]\d\d:\d\d)?")


def whole_seconds(told: str) -> str:
    """A moment without fractions of a second; any other text as it is.

    >>> whole_seconds("2023-07-18 23:30:26.512633"), whole_seconds("1.5 hours")
    ('2023-07-18 23:30:26', '1.5 hours')
    """
    moment = _MOMENT.fullmatch(told)
    return moment[1] + (moment[2] or "") if moment else told


def _short(value: t.Any) -> str:
    found = whole_seconds(value if isinstance(value, str) else canonical(value))
    return found if len(found) <= _SHORT else f"{found[: _SHORT - 3]}..."
