"""Runs that Celery's workers do, for hosts that outgrow one machine (extra ``celery``)."""

from __future__ import annotations

import typing as t

from flask import current_app

from .host import Host
from .host import host_of
from .host import Served
from .rules.lifecycle import ACTIVE
from .runs.messages import Queued
from .signals import backfill_updated
from .tables import columns
from .worker import lease
from .worker import perform


class CeleryDispatcher:
    """Sends the runs of a blueprint's backfills to Celery, a message each: the run's id.

    A backfill that starts, is planned anew or resumed, and each run that ends, sends as many
    as :meth:`claim <flask_backfills.runs.queue.Queue.claim>` would hand out. What a message is
    worth is decided when it arrives, by the run's row: a run that has ended, was cancelled or
    runs elsewhere is not run again, however often its message comes. So a message may be
    lost or come twice; :meth:`recover` finds what was lost.

    :param celery_app: the host's :class:`celery.Celery`, whose tasks run in the context of
        the Flask app, as Flask's documentation sets it up.
    :param blueprint: with a run model that maps ``queued_at``, and a function registered
        with ``@blueprint.runner``.
    :param most: so many messages of one backfill wait at a time, where its
        ``settings.pipeline_run_limit`` does not say fewer.
    """

    def __init__(self, celery_app: t.Any, blueprint: Served | Host, *, most: int = 100) -> None:
        self.host = host = host_of(blueprint)
        if host.run_model is None:
            raise TypeError("there are no runs to send: pass run_model= to BackfillBlueprint")
        columns.require(host.run_model, "queued_at")
        self.celery_app = celery_app
        self.most = most

        def run(run_id: t.Any) -> None:
            self._run(run_id)

        def recover() -> int:
            return self.recover()

        #: The task of one run, ``<blueprint>.run``. The message is acknowledged when the run
        #: has ended, so that one whose worker dies comes again.
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
        """Take back the runs of workers that died and of messages that were lost.

        They are lost after ``BACKFILLS_LEASE`` seconds. Then send what there is room for.

        :returns: how many were taken back.
        """
        runs = self.host.runs
        taken = runs.recover(older_than=lease()) + runs.unqueue(older_than=lease())
        for backfill_id in runs.active_backfills():
            self.send(backfill_id)
        return taken

    def send(self, backfill_id: t.Any) -> None:
        """Send the runs of a backfill that there is room for."""
        queued = self.host.runs.enqueue(backfill_id, self.most)
        for position, one in enumerate(queued):
            try:
                run_id = self._id._serialize(one.run_id, "", None)
                self.run_task.apply_async((run_id,), task_id=self._task_id(one), retry=False)
            except Exception:
                # Whatever the client of the broker raises: recover() sends them.
                current_app.logger.exception("The runs of backfill %s wait", backfill_id)
                self.host.runs.unqueue(run_ids=[lost.run_id for lost in queued[position:]])
                return

    def _run(self, run_id: t.Any) -> None:
        run = self.host.runs.begin(self._id.deserialize(run_id))
        if run is not None:
            backfill_id = run.backfill_id
            perform(self.host, run)
            self.send(backfill_id)

    def _follow(self, sender: t.Any, backfill: t.Any, changes: t.Any) -> None:
        """When a backfill has changed: send more, or call back what was sent."""
        if not isinstance(backfill, self.host.table.model):
            return
        backfill_id = self.host.table.key_of(backfill)
        if self.host.rollup.status_of(backfill) in ACTIVE:
            self.send(backfill_id)
        elif withdrawn := self.host.runs.withdraw(backfill_id):
            self.celery_app.control.revoke([self._task_id(one) for one in withdrawn])

    def _task_id(self, queued: Queued) -> str:
        # Another one each time: Celery remembers those that it was told to revoke.
        return f"{self.host.name}-{queued.run_id}-{queued.at:%Y%m%dT%H%M%S.%f}"

    @property
    def _id(self) -> t.Any:
        return self.host.run_table.schema.fields["id"]
