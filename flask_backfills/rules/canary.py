"""Which runs tell the most about all of them, so that they are done first. No I/O."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence
from datetime import timedelta


def telling(lengths: Sequence[timedelta | None], count: int) -> list[int]:
    """The places of the most telling runs, in their order.

    They are the first, the last, one of unusual length, the middle, the others of unusual length,
    and then what lies in the middle of the longest gaps.

    >>> hours = [24] * 9 + [23] + [24] * 10
    >>> telling([timedelta(hours=one) for one in hours], 4)
    [0, 9, 10, 19]
    >>> telling([None] * 20, 3)
    [0, 10, 19]

    :param lengths: how long the interval of each run is; ``None`` if it has none.
    :param count: how many to choose, at least 1.
    """
    if count >= len(lengths):
        return list(range(len(lengths)))
    chosen: dict[int, None] = {}
    for place in _ranked(lengths):
        chosen[place] = None
        if len(chosen) == count:
            break
    return sorted(chosen)


def _ranked(lengths: Sequence[timedelta | None]) -> Iterator[int]:
    """All places, the most telling first; some come twice."""
    last = len(lengths) - 1
    middle = len(lengths) // 2
    unusual = _unusual(lengths)
    yield from (0, last, *unusual[:1], middle, *unusual)
    gaps = [(0, middle), (middle, last)]
    for first, after in gaps:
        # The list grows while it is read: each gap leaves two, half as long.
        if after - first > 1:
            between = (first + after) // 2
            yield between
            gaps += [(first, between), (between, after)]


def _unusual(lengths: Sequence[timedelta | None]) -> list[int]:
    """The places between the ends whose length is not the commonest.

    The rarest come first, then the most different. Of each length one comes before any comes
    again; those at the ends have come.
    """
    known = [length for length in lengths if length is not None]
    if not known:
        return []
    often = Counter(known)
    most = max(often.values())
    usual = sorted(known)[len(known) // 2]
    # Of several that are as common, the one in the middle.
    common = min(
        (length for length in often if often[length] == most), key=lambda one: abs(one - usual)
    )
    seen = Counter([lengths[0], lengths[-1]])
    ranked: list[tuple[t.Any, ...]] = []
    for place, length in enumerate(lengths[1:-1], 1):
        if length is not None and length != common:
            ranked.append((seen[length], often[length], -abs(length - common), place))
            seen[length] += 1
    return [place for *_, place in sorted(ranked)]
