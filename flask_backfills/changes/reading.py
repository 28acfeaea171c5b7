"""The backfills of one blueprint, as they are read: found, listed, counted and shown."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import tzinfo

from .. import errors
from ..rules import zones
from ..rules.coverage import Coverage
from ..rules.coverage import Piece
from ..rules.names import nearest
from ..runs import coverage
from ..runs.planned import Planned
from ..runs.progress import Progress
from ..tables import lists
from ..tables.backfill_table import BackfillTable
from ..tables.event_table import EventTable
from ..tables.schema import BackfillSchema
from .expansion import Expansion
from .expansion import show
from .forecast import tell_forecast


class Reading:
    """Reads backfills, and changes nothing."""

    def __init__(
        self,
        table: BackfillTable,
        schema: BackfillSchema,
        expansion: Expansion,
        planned: Planned | None,
        progress: Progress | None,
        events: EventTable | None = None,
    ) -> None:
        self.table = table
        self.schema = schema
        self.expansion = expansion
        self.planned = planned
        self.progress = progress
        self.events = events

    def find(self, pipeline_uuid: str | None, backfill_id: t.Any) -> t.Any:
        """Return one backfill of a pipeline; of any pipeline if ``pipeline_uuid`` is ``None``."""
        return self.table.find(pipeline_uuid, backfill_id)

    def page(
        self,
        pipelines: t.Collection[str] | None,
        status: str | None,
        offset: int,
        limit: int,
        *,
        criteria: t.Iterable[t.Any] = (),
        order: lists.Order | None = None,
    ) -> tuple[list[t.Any], int]:
        """Return a page of backfills, and the total count.

        :param pipelines: only backfills of these pipelines; ``None`` for all pipelines.
        :param criteria: what else they must meet, for the WHERE of a SELECT.
        :param order: ``None`` for the newest first.
        """
        where = [*criteria]
        if pipelines is not None:
            where.append(lists.of_pipelines(self.table, pipelines))
        if status is not None:
            where.append(self.schema.is_word(self.table.model, "status", status))
        return lists.page(self.table, where, offset, limit, order)

    def coverage(
        self,
        pipeline_uuid: str,
        start: datetime,
        end: datetime,
        offset: int,
        limit: int,
        zone: tzinfo | None = None,
    ) -> tuple[dict[str, t.Any], dict[str, int]]:
        """Return what the backfills of a pipeline cover of a span, as in the API.

        :param start: naive and in UTC, as ``end``, which is after it.
        :param offset: how many pieces each list leaves out.
        :param limit: how many pieces each list has at the most.
        :param zone: in which moments are shown; ``None`` for that of the wire.
        :returns: the lists and the share, and how many pieces there are in all of each list.
        :raises flask_backfills.errors.NoIntervals: if the run model has no interval.
        """
        found = self.covered(pipeline_uuid, start, end, offset, limit)
        told = {kind: self.show_pieces(pieces.page, zone) for kind, pieces in found.pieces.items()}
        totals = {kind: pieces.total for kind, pieces in found.pieces.items()}
        return {**told, "share": found.share}, totals

    def covered(
        self,
        pipeline_uuid: str,
        start: datetime,
        end: datetime,
        offset: int = 0,
        limit: int | None = None,
    ) -> Coverage:
        """Return the same with moments, naive and in UTC; all pieces unless there is a limit.

        :raises flask_backfills.errors.NoIntervals: if the run model has no interval.
        """
        assert self.planned is not None
        if not coverage.has_intervals(self.planned.table):
            raise errors.NoIntervals()
        page = start, end, offset, limit
        return coverage.of_pipeline(self.planned.table, pipeline_uuid, *page)

    def show_pieces(
        self, pieces: t.Iterable[Piece], zone: tzinfo | None = None
    ) -> list[dict[str, t.Any]]:
        """Return pieces as in the API.

        :param zone: in which moments are shown; ``None`` for that of the wire.
        """
        zone = zone or self.schema.window_zone
        return [
            {
                "start_datetime": _show_moment(piece.start, zone),
                "end_datetime": _show_moment(piece.end, zone),
                "backfills": list(piece.backfills),
            }
            for piece in pieces
        ]

    def history(
        self, backfill: t.Any, offset: int, limit: int
    ) -> tuple[list[dict[str, t.Any]], int]:
        """Return a page of the events of a backfill as in the API, newest first, and the count.

        :raises RuntimeError: if the blueprint has no ``event_model``.
        """
        if self.events is None:
            raise RuntimeError(
                "this blueprint has no history: pass event_model= to BackfillBlueprint"
            )
        found, total = self.events.page(backfill, offset, limit)
        return [self.events.show(one) for one in found], total

    def show(self, backfill: t.Any) -> dict[str, t.Any]:
        """Return the attributes of a backfill as in the API."""
        return t.cast("dict[str, t.Any]", self.schema.dump(backfill))

    def by_attribute(self, shown: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """What is shown of a backfill under the names that its attributes have here.

        A host's schema may give them other names, or hide some: those are null.
        """
        names = {name: field.data_key or name for name, field in self.schema.fields.items()}
        keys = {**dict.fromkeys(BackfillSchema._declared_fields), **self.schema.keys, **names}
        return {**shown, **{name: key and shown.get(key) for name, key in keys.items()}}

    def show_runs(self, backfill: t.Any, runs: list[t.Any]) -> list[dict[str, t.Any]]:
        """Return runs of a backfill as in the API."""
        assert self.planned is not None
        shown: list[dict[str, t.Any]] = self.planned.table.schema.dump(runs, many=True)
        variables_of = self.expansion.variables_of(backfill)
        for one, run in zip(shown, runs, strict=True):
            if one["status"] == "initial" and "variables" in self.planned.table.columns:
                # A run gets them when it is handed out; until then, those that it would get.
                one["variables"] = variables_of(run)["variables"]
            if self._hides("variables"):
                # Once a run has begun, they are in those of the run.
                one["variables"] = None
        return shown

    def _hides(self, attribute: str) -> bool:
        """Whether the host's schema does not show an attribute of backfills."""
        dumped = self.schema.dump_fields.items()
        return all((field.attribute or name) != attribute for name, field in dumped)

    def show_run(self, backfill: t.Any, run: t.Any) -> dict[str, t.Any]:
        """Return one run as in the API, with what a list of runs leaves out."""
        assert self.planned is not None
        [shown] = self.show_runs(backfill, [run])
        known = self.planned.table.columns
        more = {
            name: getattr(run, name) if name in known else None for name in ("metrics", "worker")
        }
        if self._hides("metrics"):
            more["metrics"] = None
        return {**shown, **more}

    def forecast(
        self,
        backfill: t.Any,
        waiting: int | None = None,
        at_once: int | None = None,
    ) -> dict[str, t.Any] | None:
        """How long the runs of a backfill take, as in the API. Two statements.

        :param waiting: how many runs would wait; ``None`` for those that do.
        :param at_once: how many runs are supposed to run at once; ``None`` for as many as will.
        :returns: ``None`` if there are no runs, or if it is not known when they began and ended.
        """
        if self.planned is None:
            return None
        last = self.expansion.last_end(backfill)
        return tell_forecast(self.planned.table, backfill, waiting, at_once, last)

    def show_counted(self, backfills: list[t.Any]) -> list[dict[str, t.Any]]:
        """Return the attributes of each backfill as in the API, with its run counts."""
        counts = self.count(backfills)
        return [{**self.show(one), **more} for one, more in zip(backfills, counts, strict=True)]

    def count(self, backfills: list[t.Any]) -> list[dict[str, t.Any]]:
        """Return, for each backfill, the number of its runs in total and by status."""
        totals = [{"total_run_count": self.expansion.count(one)} for one in backfills]
        if self.progress is None:
            return totals
        counts = self.progress.counts([self.table.key_of(one) for one in backfills])
        more = []
        for total, statuses in zip(totals, counts.values(), strict=True):
            # For a generator, only the runs that it has given are known.
            known = total["total_run_count"]
            total["total_run_count"] = sum(statuses.values()) or None if known is None else known
            more.append({**total, "run_status_counts": dict(statuses)})
        return more


def require_known(pipeline_uuid: str, pipelines: t.Iterable[t.Any]) -> None:
    """Refuse a pipeline that the host does not name.

    :raises flask_backfills.errors.UnknownPipeline: with the nearest name.
    """
    known = {str(one) for one in pipelines}
    if pipeline_uuid not in known:
        raise errors.UnknownPipeline(nearest(pipeline_uuid, sorted(known)))


def _show_moment(moment: datetime, zone: tzinfo | None) -> str:
    return show(moment) if zone is None else zones.show(moment, zone)
