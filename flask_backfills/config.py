"""The numbers that an app's config may set, and what they are otherwise."""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping

from flask import current_app

#: ``BACKFILLS_LEASE`` for a run model without ``heartbeat_at``, whose runs can't be renewed.
LEASE_OF_A_WHOLE_RUN = 3600

#: Seconds, bytes and runs: ``docs/deploying.md`` says of what.
DEFAULTS = {
    "BACKFILLS_LEASE": 60,
    "BACKFILLS_MAX_CONTENT_LENGTH": 1024 * 1024,
    "BACKFILLS_MAX_EVENT_VALUE": 64 * 1024,
    "BACKFILLS_MAX_PAGE_LENGTH": 16 * 1024 * 1024,
    "BACKFILLS_MAX_RUNS": 100_000,
    "BACKFILLS_MAX_VARIABLES": 64 * 1024,
}

#: What no limit has to be above. A lease of so many seconds is 31 years.
_MOST = 10**9


def check(config: Mapping[str, t.Any]) -> None:
    """Look at the numbers of a config.

    :raises ValueError: naming the first that is none.
    """
    for name in DEFAULTS.keys() & config.keys():
        _read(name, config[name])


def number(name: str, default: float | None = None) -> float:
    """What the app's config says.

    :param default: instead of the usual one.
    :raises ValueError: if it is no number, which the app was not told when it registered us
        since it has set that later.
    """
    usual = DEFAULTS[name] if default is None else default
    return _read(name, current_app.config.get(name, usual))


def whole(name: str) -> int:
    """The same for what is counted."""
    return math.floor(number(name))


def _read(name: str, value: t.Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not 0 <= found <= _MOST or isinstance(value, bool):
        raise ValueError(
            f"app.config[{name!r}] is {value!r}: set a number from 0 to {_MOST:,}, such as"
            f" {DEFAULTS[name]}"
        )
    return found
