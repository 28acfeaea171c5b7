"""The numbers that runs return, and their sums."""

from __future__ import annotations

import json
import math
import numbers
import sys
import typing as t
from collections.abc import Mapping
from decimal import Decimal

#: The greatest number that a sum may come to; beyond it there is no JSON for it.
MOST = sys.float_info.max

#: How many digits of a float can be told from what the computer makes of it.
DIGITS = 15

Number = int | float


def read(returned: t.Any) -> dict[str, t.Any]:
    """What a runner has returned, as it can be stored; numbers of any type become Python's own.

    >>> read({"rows": Decimal("2"), "note": "x"}), read(None)
    ({'rows': 2, 'note': 'x'}, {})

    :raises TypeError: for what is not ``None`` or a dict with strings as keys.
    :raises ValueError: for a number that is not finite.
    """
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise TypeError(f"the runner must return a dict or None, not {type(returned).__name__}")
    for name in returned:
        if not isinstance(name, str):
            raise TypeError(f"the name of a metric must be a str, not {type(name).__name__}")
    metrics = {name: _plain(name, value) for name, value in returned.items()}
    # Not every database refuses what is no JSON.
    json.dumps(metrics, allow_nan=False)
    return metrics


def numbers_of(metrics: t.Any) -> dict[str, Number]:
    """The metrics that can be added up."""
    if not isinstance(metrics, Mapping):
        return {}
    return {name: value for name, value in metrics.items() if _is_number(value)}


def add(there: t.Any, metrics: t.Any, sign: int = 1) -> dict[str, t.Any]:
    """Add the numbers among some metrics to those that are there.

    >>> add({"rows": 1, "note": "x"}, {"rows": 2, "ok": True})
    {'rows': 3, 'note': 'x'}
    >>> add(add({"euros": 0.1}, {"euros": 0.2}), {"euros": 0.3}, -1)
    {'euros': 0.0}

    Nothing is taken away from what somebody has cleared:

    >>> add({"mine": 1}, {"rows": 2}, -1)
    {'mine': 1}
    """
    sums = dict(there) if isinstance(there, Mapping) else {}
    for name, value in numbers_of(metrics).items():
        if sign < 0 and name not in sums:
            continue
        old = sums.get(name)
        try:
            total = _sum(numbers_of({name: old}).get(name, 0), sign * value)
        except OverflowError:
            total = math.copysign(MOST, sign * value)
        sums[name] = max(-MOST, min(total, MOST)) if isinstance(total, float) else total
    return sums


def _sum(one: Number, other: Number) -> Number:
    """The sum, to the digits that both have; so nothing is left of what is taken away again."""
    total, largest = one + other, max(abs(one), abs(other))
    if not isinstance(total, float) or not math.isfinite(total) or not largest:
        return total
    return round(total, DIGITS - 1 - math.floor(math.log10(largest)))


def _plain(name: str, value: t.Any) -> t.Any:
    if isinstance(value, bool):
        return value
    # numpy's numbers know their own type in Python.
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, (Decimal, numbers.Rational)) and not isinstance(value, int):
        value = int(t.cast(t.Any, value)) if _is_whole(value) else _float(value)
    if isinstance(value, (int, float)) and not _is_finite(value):
        raise ValueError(f"the metric {name} is not a finite number")
    return value


def _is_whole(value: Decimal | numbers.Rational) -> bool:
    if not _is_finite(value):
        return False
    # Beyond its precision, Decimal can't divide.
    whole = value.to_integral_value() if isinstance(value, Decimal) else math.trunc(value)
    return bool(value == whole)


def _float(value: t.Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_finite(value: t.Any) -> bool:
    return math.isfinite(_float(value))


def _is_number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value)
