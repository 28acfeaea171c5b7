"""What a host's tests do with its backfills: make them, perform their runs, and move the time."""

from __future__ import annotations

import typing as t

from . import attempts
from . import given
from .factories import Factories


class Kit(Factories):
    """The backfills of an app, for its tests; the pytest fixture ``backfills`` gives one.

    Without pytest, use it in a ``with`` block. Within the block, time stands still for all
    backfills of the app. Where the test has an app context, its session is used and committed.
    Otherwise each call has an app context of its own, and what it returns can be read after it.

    :param app: your app, with a ``BackfillBlueprint``.
    :param name: the name of the blueprint; not needed if there is only one.
    :raises RuntimeError: if there is no such blueprint.
    """

    def run_all(self, limit: int | None = None, *, reraise: bool = False) -> list[t.Any]:
        """Perform the runs that may run now, one after the other, in the thread of the test.

        It claims, calls your runner and records the result as every worker does, in the order
        and within the limits of the settings. It waits for nothing: what is to be tried later
        waits until you :meth:`advance` the time. Runs of workers that are silent for longer than
        ``BACKFILLS_LEASE`` are taken back first. Without an app context of the test, each run
        has its own, as in a worker.

        :param limit: how many attempts at the most.
        :param reraise: raise what your runner has raised, once it is recorded.
        :returns: the runs as they are at the end, in the order of their attempts.
        :raises RuntimeError: if the blueprint has no runs or no runner.
        """
        if limit is not None:
            given.count("limit", limit)
        given.answer("reraise", reraise)
        if self._host.run_table and self._host.runner is None:
            raise RuntimeError(
                "no runner is registered: register a function with @blueprint.runner, where the"
                " app is made"
            )
        done: list[t.Any] = []
        if self._host.run_table.leased is not None:
            self.recover()
        while limit is None or len(done) < limit:
            with self._here():
                if (claimed := attempts.claim(self._host)) is None:
                    break
            with self._here():
                planned = self._shared.planned.popleft() if self._shared.planned else None
                raised = attempts.attempt(self.app, self._host, claimed.record, planned)
                done.append(claimed.run)
            if reraise and raised:
                raise raised[0]
            if isinstance(planned, attempts.Stop):
                break
        with self._here():
            return [attempts.read(self._host, run) for run in done]

    def fail_next(self, error: given.Failure = "backfills.fail_next()", times: int = 1) -> None:
        """Let the next attempt of :meth:`run_all` raise an error, instead of calling your runner.

        :param error: an exception, its class, or the text of one.
        :param times: how many attempts.
        """
        given.count("times", times)
        self._shared.planned.extend([given.failure(error)] * times)

    def stop_next(self, after: int = 0) -> None:
        """Let the worker of the next attempt of :meth:`run_all` be told to stop, as at SIGTERM.

        ``current_run.stop_requested`` is true in this attempt. What your runner returns or
        raises then is its result, and :meth:`run_all` ends after it, as this worker does. Call
        it again for the next worker.

        :param after: how often your runner asks before it is true.
        """
        self._shared.planned.append(attempts.Stop(given.count("after", after)))

    def lose_worker(self, runs: int = 1) -> list[t.Any]:
        """Let a worker claim runs and die.

        They stay ``running`` until you :meth:`advance` the time by more than
        ``BACKFILLS_LEASE`` seconds (60 by default). Then :meth:`run_all` and :meth:`recover` take
        them back.

        :param runs: how many runs it claims at the most.
        """
        given.count("runs", runs)
        lost: list[t.Any] = []
        with self._here():
            while len(lost) < runs and (claimed := attempts.claim(self._host)) is not None:
                lost.append(claimed.run)
            return [attempts.read(self._host, run) for run in lost]

    def recover(self) -> int:
        """Take back the runs of workers that were silent for a lease, as every worker does.

        :returns: how many runs were taken back.
        """
        with self._here():
            return self._host.runs.recover()
