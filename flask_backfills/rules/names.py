"""Names that are almost right."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

#: How alike two names are of which one may be meant by the other; 1 is the same.
ALIKE = 0.6

#: So many names at a time are nobody's slips, and so many known names are not looked through:
#: each comparison takes its time.
SLIPS = 100
MANY = 1000

#: The same where the other name could be right too.
HARDLY_BY_CHANCE = 0.85


def nearest(name: str, known: Iterable[str], alike: float = ALIKE) -> str | None:
    """The known name that was meant by one that is not known; ``None`` if it is another.

    >>> nearest("pipline_run_limit", ["order", "pipeline_run_limit"], HARDLY_BY_CHANCE)
    'pipeline_run_limit'
    >>> nearest("limit", ["_limit", "_offset"]), nearest("maxFailures", ["max_failures"])
    ('_limit', 'max_failures')
    >>> nearest("owner", ["order"], HARDLY_BY_CHANCE)
    """
    plain = {_plain(one): one for one in islice(known, MANY)}
    found = get_close_matches(_plain(name), plain, n=1, cutoff=alike)
    return plain[found[0]] if found else None


def unknown(names: Collection[str], known: Collection[str]) -> dict[str, list[str]]:
    """What to say of names that are not known.

    >>> unknown(["nmae", "color"], ["name"])
    {'nmae': ['Unknown field. Did you mean name?'], 'color': ['Unknown field.']}
    """
    told = {}
    for name in names:
        near = nearest(name, known) if len(names) <= SLIPS else None
        told[name] = [f"Unknown field. Did you mean {near}?" if near else "Unknown field."]
    return told


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name[:200])).lower()
