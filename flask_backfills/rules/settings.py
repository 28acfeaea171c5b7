"""The settings that decide how a backfill's runs are handed out: names, bounds and choices.

Every other key of ``settings`` is the host's.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from .plan import REPROCESS

#: Whole numbers, and the least that each may be.
NUMBERS = {"max_failures": 1, "pipeline_run_limit": 1}

#: Words, and those that each may be.
CHOICES = {"order": ("forwards", "backwards"), "reprocess": tuple(REPROCESS)}

#: True or false.
SWITCHES = ("paused",)


def is_paused(settings: t.Any) -> bool:
    """Whether runs are held back until the backfill is resumed.

    >>> is_paused({"paused": True}), is_paused({"paused": "yes"}), is_paused(None)
    (True, False, False)
    """
    return isinstance(settings, Mapping) and settings.get("paused") is True
