"""From what to what a change changes a backfill, line by line, for people."""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from collections.abc import Mapping

from ..rules.canonical import canonical
from ..rules.history import differences
from .field import label_of

#: Characters that are shown of a value.
LONGEST = 300


class Difference(t.NamedTuple):
    """A line: an attribute, or a key of it, as it was and as it will be; ``None`` is nothing."""

    label: str
    #: Of an object, which of its keys.
    key: str | None
    old: str | None
    new: str | None


def between(
    before: Mapping[str, t.Any], after: Mapping[str, t.Any], without: Collection[str] = ()
) -> list[Difference]:
    """What differs between the attributes of a backfill, objects key by key.

    >>> before = {"name": "June", "settings": {"order": "backwards"}}
    >>> after = {"name": "July", "settings": {"order": "backwards", "canary": 3}}
    >>> for one in between(before, after):
    ...     print(one.label, one.key, one.old, one.new)
    Name None June July
    Settings canary None 3

    :param without: the attributes that are left out.
    """
    found = []
    for key, change in differences(before, after, without).items():
        old, new = change["from"], change["to"]
        # An object that appears or goes is told key by key, too.
        by_key = differences(_object(old), _object(new)) if _are_objects(old, new) else {}
        lines = {None: change} if not by_key else by_key
        for name, ends in lines.items():
            told = _told(ends["from"]), _told(ends["to"])
            found.append(Difference(label_of(key), name, *told))
    return found


def _are_objects(old: t.Any, new: t.Any) -> bool:
    return all(one is None or isinstance(one, Mapping) for one in (old, new))


def _object(value: t.Any) -> Mapping[str, t.Any]:
    return value if isinstance(value, Mapping) else {}


def _told(value: t.Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
