"""Which runs of a window a plan leaves out, since another backfill has completed what they do."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from datetime import datetime

from .. import errors
from ..rules.coverage import completed_wholly
from ..rules.window import Window
from ..runs import coverage
from ..tables.run_table import CHUNK
from ..tables.run_table import RunTable
from .expansion import Expansion


def completed_elsewhere(
    runs: RunTable,
    expansion: Expansion,
    backfill: t.Any,
    window: Window,
    indexes: range | None = None,
) -> dict[str, t.Any]:
    """By the key of a run, one other visible backfill of the pipeline that has completed it.

    The runs of that one backfill may cover it together. One SELECT.

    :param indexes: those of the dates that are asked about; ``None`` for the whole window.
    :raises flask_backfills.errors.Refused: if the run model has no intervals.
    """
    if not coverage.has_intervals(runs):
        told = "Needs the column interval_end_datetime in the model of runs."
        key = expansion.schema.key_of("settings")
        raise errors.Refused({key: {"skip_covered": [told]}})
    indexes = range(window.count()) if indexes is None else indexes
    _, end = window.edges(indexes[-1], 1)
    done = list(
        coverage.intervals(
            runs,
            str(backfill.pipeline_uuid),
            ["completed"],
            window.date(indexes[0]),
            end,
            # ``None`` for a new one that is only previewed.
            besides=runs.backfills.key_of(backfill),
        )
    )
    return completed_wholly(_named(expansion, window, indexes), done) if done else {}


def _named(
    expansion: Expansion, window: Window, indexes: range
) -> Iterator[tuple[str, datetime, datetime]]:
    for keys, starts, ends in expansion.dated(window, CHUNK, indexes):
        yield from zip(keys, starts, ends, strict=True)
