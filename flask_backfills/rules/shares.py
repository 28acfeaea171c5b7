"""Amounts as hundredths of a whole, of which the smallest are still seen."""

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
