"""Amounts as hundredths of a whole: drawn so that the smallest are still seen, and in words."""

from __future__ import annotations

from collections.abc import Mapping


def shares(amounts: Mapping[str, float], whole: float, least: float) -> dict[str, float]:
    """How much of a whole each amount is, but for those of nothing.

    >>> shares({"completed": 3, "failed": 1, "running": 0}, 8, 2)
    {'completed': 37.5, 'failed': 12.5}

    What is shown larger than it is takes its place from the largest:

    >>> shares({"completed": 9999, "failed": 1}, 10_000, 2)
    {'completed': 98.0, 'failed': 2}
    """
    found = {
        kind: max(100 * amount / whole, least) for kind, amount in amounts.items() if amount > 0
    }
    beyond = sum(found.values()) - 100
    if beyond > 0:
        found[max(found, key=lambda kind: found[kind])] -= beyond
    return found


#: Less than this comes from counting in seconds, and is nothing.
_NOTHING = 1e-6


def percent(part: float, whole: float) -> str:
    """A share in hundredths, with as many digits as it needs not to be told as nothing or as all.

    >>> percent(5555, 10_000), percent(0, 3), percent(3, 3)
    ('56%', '0%', '100%')
    >>> percent(35_029, 35_064), percent(35, 35_064)
    ('99.9%', '0.1%')
    >>> percent(1, 10**9), percent(10**9 - 1, 10**9)
    ('0.01%', '99.99%')
    """
    if part <= _NOTHING:
        return "0%"
    if part >= whole - _NOTHING:
        return "100%"
    share = min(max(100 * part / whole, 0.01), 99.99)
    told = (f"{share:.{digits}f}" for digits in range(3))
    return next(one for one in told if 0 < float(one) < 100) + "%"
