"""Executes runs with Celery, for apps that need several machines (extra ``celery``)."""

from __future__ import annotations

import logging
import threading
import typing as t

from . import dbapi
from .host import Host
from .host import host_of
from .host import Served
from .rules.lifecycle import ACTIVE
from .runner import perform
from .runs.lease import lease
from .runs.messages import Queued
from .signals import backfill_updated
from .tables import columns
from .tables.logs import log
from .tables.logs import warn


class CeleryDispatcher:
    """Sends the runs of a blueprint to Celery. Each message is the id of one run.

    The dispatcher sends messages when a backfill starts, is edited or is resumed, and when
    a run ends. It sends as many as
    :meth:`claim <flask_backfills.runs.queue.Queue.claim>` would hand out. The run's row is
    checked when the message arrives: a run that has ended, was cancelled or is already
    running is not run again. So duplicate and lost messages do no harm. :meth:`recover`
    finds the runs whose messages were lost.

    :param celery_app: your :class:`celery.Celery`. Its tasks must run in the context of the
        Flask app, as Flask's documentation shows.
    :param blueprint: a blueprint whose run model maps ``queued_at``, with a function that is
        registered with ``@blueprint.runner``.
    :param most: the number of messages of one backfill that may wait at a time. A lower
        ``settings.pipeline_run_limit`` takes precedence.
    """

    def __init__(self, celery_app: t.Any, blueprint: Served | Host, *, most: int = 100) -> None:
        self.blueprint = blueprint
        self.host = host = host_of(blueprint)
        if host.run_model is None:
            raise TypeError("the blueprint has no runs: pass run_model= to BackfillBlueprint")
        columns.require(host.run_model, "queued_at")
        self.celery_app = celery_app
        self.most = most
        self._sending = threading.local()

        def run(run_id: t.Any) -> None:
            self._run(run_id)

        def recover() -> int:
            return self.recover()

        #: The task of one run, ``<blueprint>.run``. Celery acknowledges the message after the
        #: run has ended, and delivers it again if the worker dies.
        self.run_task = celery_app.task(
            run,
            name=f"{host.name}.run",
            acks_late=True,
            reject_on_worker_lost=True,
            ignore_result=True,
        )
        #: The task for ``celery beat`` to call, ``<blueprint>.recover``.
        self.recover_task = celery_app.task(
            recover, name=f"{host.name}.recover", ignore_result=True
        )
        backfill_updated.connect(self._follow, weak=False)

    def recover(self) -> int:
        """Take back the runs of dead workers and of lost messages, and send runs again.

        A run or a message counts as lost after ``BACKFILLS_LEASE`` seconds.

        :returns: how many runs were taken back.
        """
        runs = self.host.runs
        taken = runs.recover() + runs.unqueue(older_than=lease(self.host.run_table))
        for backfill_id in runs.active_backfills():
            try:
                self.send(backfill_id)
            except Exception as error:
                # The others must not wait for that.
                told = dbapi.told(error)
                warn("Backfill %s is skipped: %s", backfill_id, told)
        return taken

    def send(self, backfill_id: t.Any) -> None:
        """Send the next runs of a backfill, up to its limit."""
        waiting = getattr(self._sending, "waiting", None)
        if waiting is not None:
            # A Celery that is eager does the run within its message: the next one comes after.
            waiting.append(backfill_id)
            return
        self._sending.waiting = waiting = [backfill_id]
        try:
            while waiting:
                self._send(waiting.pop())
        finally:
            self._sending.waiting = None

    def _send(self, backfill_id: t.Any) -> None:
        queued = self.host.runs.enqueue(backfill_id, self.most)
        for position, one in enumerate(queued):
            try:
                run_id = self._id._serialize(one.run_id, "", None)
                self.run_task.apply_async((run_id,), task_id=self._task_id(one), retry=False)
            except Exception:
                # Any error of the broker's client: recover() sends these runs later.
                text = "Runs of backfill %s were not sent; recover() sends them later"
                log(logging.ERROR, text, backfill_id, exc_info=True)
                self.host.runs.unqueue(run_ids=[lost.run_id for lost in queued[position:]])
                return

    def _run(self, run_id: t.Any) -> None:
        key = self._id.deserialize(run_id)
        run = self.host.runs.begin(key)
        delivery = self.run_task.request.delivery_info or {}
        if run is None and delivery.get("redelivered") and self.host.runs.died_here(key):
            run = self.host.runs.begin(key)
        if run is not None:
            backfill_id = run.backfill_id
            perform(self.host, run)
            self.send(backfill_id)

    def _follow(self, sender: t.Any, backfill: t.Any, changes: t.Any) -> None:
        """After a backfill has changed, send more runs, or revoke the runs that were sent."""
        # One factory may make several apps over the same model.
        served = (getattr(one, "host", None) for one in sender.blueprints.values())
        if not any(host is self.host for host in served):
            return
        if not isinstance(backfill, self.host.table.model):
            return
        backfill_id = self.host.table.key_of(backfill)
        if self.host.rollup.status_of(backfill) in ACTIVE:
            self.send(backfill_id)
        elif withdrawn := self.host.runs.withdraw(backfill_id):
            self.celery_app.control.revoke([self._task_id(one) for one in withdrawn])

    def _task_id(self, queued: Queued) -> str:
        # A new id each time, because Celery remembers the ids that it has revoked.
        return f"{self.host.name}-{queued.run_id}-{queued.at:%Y%m%dT%H%M%S.%f}"

    @property
    def _id(self) -> t.Any:
        return self.host.run_table.schema.fields["id"]
