"""Backfills and runs for tests, each made in the way in which it comes to be in the app."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from .. import errors
from . import attempts
from . import given
from . import sent
from .chosen import Chosen


class Factories(Chosen):
    """Makes backfills and runs, and reads them."""

    def create(
        self, pipeline: str | None = None, *, runs: int = 3, start: bool = True, **values: t.Any
    ) -> t.Any:
        """Create a backfill, as a request does: daily from 2023-07-01, and started.

        :param pipeline: by default, the first of the blueprint's ``pipelines``, or ``"tests"``.
        :param runs: how many days the window has, where you give neither of its ends.
        :param start: ``False`` to leave it without a status and without runs.
        :param values: attributes of the API, such as ``settings={"max_attempts": 2}``. Datetimes
            may be objects or texts. What your model requires has a value, if it is text, a
            number or an object.
        :returns: a row of your model.
        :raises flask_backfills.errors.Refused: as a request is refused.
        """
        host = self._host
        given.count("runs", runs, 1, sent.MOST)
        given.answer("start", start, ". The window is start_datetime= and end_datetime=")
        pipeline = sent.pipeline(host) if pipeline is None else pipeline
        with self._here():
            name = f"Test {next(self._shared.numbers)}"
            with _telling():
                values = sent.backfill(host, name, runs, start, values)
                made = host.backfills.create(pipeline, values).backfill
            return attempts.read(host, made)

    def update(self, backfill: t.Any, **values: t.Any) -> t.Any:
        """Change a backfill, as a request does.

        :param values: attributes of the API, such as ``status="cancelled"``.
        :returns: the row.
        :raises flask_backfills.errors.Refused: as a request is refused.
        """
        host = self._host
        given.backfill(host, backfill)
        written = {host.schema.key_of(key): sent.wire(value) for key, value in values.items()}
        with self._here(), _telling():
            backfill = attempts.read(host, backfill)
            key = host.table.key_of(backfill)
            host.backfills.update(str(backfill.pipeline_uuid), key, written)
            return attempts.read(host, backfill)

    def refresh(self, row: t.Any) -> t.Any:
        """A backfill or a run as it is stored now.

        Needed without an app context, where a row can't follow what happens.
        """
        given.row(self._host, row)
        with self._here():
            return attempts.read(self._host, row)

    def runs(self, backfill: t.Any) -> list[t.Any]:
        """All runs of a backfill, by ``execution_date`` and ``key``."""
        host = self._host
        host.run_table  # noqa: B018
        given.backfill(host, backfill)
        with self._here():
            query = sa.select(host.run_table.model).where(host.run_table.of(backfill))
            query = query.order_by(*host.runs.hand_out.next.order(False))
            query = query.execution_options(populate_existing=True)
            return list(host.run_table.database.session.scalars(query).unique())

    def run(
        self,
        backfill: t.Any = None,
        status: str = "initial",
        *,
        error: str | None = None,
        metrics: dict[str, t.Any] | None = None,
        **values: t.Any,
    ) -> t.Any:
        """Give the next waiting run of a backfill a status, in the way that a worker does.

        So its variables, times and backfill are as after a real attempt. Your runner is not
        called. To call it yourself, take a run that is ``running``:
        ``load(backfills.run(status="running"))``.

        :param backfill: ``None`` for a new one with this run alone.
        :param status: ``initial``, ``running``, ``completed``, ``failed`` or ``cancelled``.
        :param error: of a ``failed`` one.
        :param metrics: of a ``completed`` one.
        :param values: written to columns of the run, whatever follows from them in a real one.
        :returns: a row of your run model.
        :raises RuntimeError: if the run can't have this status now. The text says why.
        """
        host = self._host
        host.run_table  # noqa: B018
        metrics = given.result(status, error, metrics)
        self._check(values)
        if backfill is not None:
            given.backfill(host, backfill)
        with self._here():
            backfill = self.create(runs=1) if backfill is None else attempts.read(host, backfill)
            if status in ("initial", "cancelled"):
                run = self._waiting(backfill)
            else:
                run = self._claimed(backfill, status, metrics, error)
            if status == "cancelled":
                mine = host.run_table.key == host.run_table.key_of(run)
                of_it = str(backfill.pipeline_uuid), host.table.key_of(backfill)
                host.changed_runs.set_status(*of_it, mine, status, lambda *_: None)
            if values:
                self._write(run, values)
            return attempts.read(host, run)

    def _waiting(self, backfill: t.Any) -> t.Any:
        """The next run of a backfill that waits, whatever else it waits for."""
        waiting = self._host.run_table.has("initial")
        query = sa.select(self._host.run_table.model).where(
            self._host.run_table.of(backfill), waiting
        )
        query = query.order_by(*self._host.runs.hand_out.next.order(False)).limit(1)
        run = self._host.run_table.database.session.scalars(query).unique().first()
        if run is None:
            raise RuntimeError(f"no run of the backfill waits. {self._why(backfill)}")
        return run

    def _claimed(
        self, backfill: t.Any, status: str, metrics: dict[str, t.Any] | None, error: str | None
    ) -> t.Any:
        host = self._host
        found = host.runs.claim(host.table.key_of(backfill))
        if not found:
            raise RuntimeError(f"no run of the backfill can begin now. {self._why(backfill)}")
        run, record = attempts.joined(host, found[0])
        if status != "running":
            host.runs.finish(record, status, metrics, error)
        return run

    def _why(self, backfill: t.Any) -> str:
        backfill = attempts.read(self._host, backfill)
        return " ".join(one.message for one in self._host.explaining.explain(backfill))

    def _check(self, values: dict[str, t.Any]) -> None:
        """Refuse names of no attribute before anything is done."""
        table = self._host.run_table
        for name in values:
            if name not in table.columns and not hasattr(table.model, name):
                raise TypeError(f"{table.model.__name__} has no attribute {name!r}")

    def _write(self, run: t.Any, values: dict[str, t.Any]) -> None:
        table = self._host.run_table
        with table.database.transaction():
            for name, value in values.items():
                if name in table.columns:
                    table.assign(run, **{name: value})
                else:
                    setattr(run, name, value)


@contextmanager
def _telling() -> Iterator[None]:
    """Let the text of a refusal have its reasons, which an answer has beside it."""
    try:
        yield
    except errors.Refused as refused:
        refused.description = f"{refused.description} {refused.errors}"
        raise
