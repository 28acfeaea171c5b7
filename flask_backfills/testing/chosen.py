"""The app of a test: which of its blueprints is meant, its session, and what time it is."""

from __future__ import annotations

import itertools
import typing as t
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from flask import current_app
from flask import Flask
from flask import has_app_context

from ..blueprint import BackfillBlueprint
from ..host import Host
from . import given
from .attempts import Stop
from .given import Failure
from .hours import Hours

C = t.TypeVar("C", bound="Chosen")


class _Shared(t.NamedTuple):
    """What the kits of one app's blueprints share."""

    hours: Hours
    #: What the next attempts come to, instead of a call of the runner alone.
    planned: deque[Failure | Stop]
    numbers: Iterator[int]


class Chosen:
    """One blueprint of an app, or one that is still to be named.

    :param app: your app, with a ``BackfillBlueprint``.
    :param name: the name of the blueprint; not needed if there is only one.
    :raises RuntimeError: if there is no such blueprint.
    """

    def __init__(self, app: Flask, name: str | None = None) -> None:
        if not isinstance(app, Flask):
            raise TypeError(f"this must be your Flask app, not {given.said(app)}")
        self.app = app
        self._found = {
            known: one
            for known, one in app.blueprints.items()
            if isinstance(one, BackfillBlueprint)
        }
        if not self._found:
            raise RuntimeError(
                "the app has no BackfillBlueprint: register it where the app is made, such as in"
                " create_app(), before the test begins"
            )
        self._name = name
        if name is not None:
            self._require(name)
        clocks = [one.host.table.database.clock for one in self._found.values()]
        self._shared = _Shared(Hours(clocks), deque(), itertools.count(1))

    def __enter__(self: C) -> C:
        hosts = [one.host for one in self._found.values()]
        self._before = [(host, host.runner, dict(host.generators)) for host in hosts]
        self._shared.hours.begin()
        return self

    def __exit__(self, *raised: object) -> None:
        self._shared.hours.end()
        # What a test has registered is not for the tests after it: the app may be theirs, too.
        for host, runner, generators in self._before:
            host.runner = runner
            host.generators.clear()
            host.generators.update(generators)

    # Which blueprint

    def of(self: C, name: str) -> C:
        """The same for the blueprint of this name, in an app with several. They share the time.

        :raises RuntimeError: if there is no such blueprint.
        """
        self._require(name)
        other = type(self).__new__(type(self))
        vars(other).update({**vars(self), "_name": name})
        return other

    @property
    def blueprint(self) -> BackfillBlueprint:
        """The blueprint.

        :raises RuntimeError: if the app has several, and none was named.
        """
        if self._name is None and len(self._found) > 1:
            names = ", ".join(map(repr, self._found))
            raise RuntimeError(
                f"the app has several blueprints ({names}): say which one, such as"
                f" backfills.of({next(iter(self._found))!r})"
            )
        return self._found[self._name or next(iter(self._found))]

    def _require(self, name: str) -> None:
        if name not in list(self._found):
            names = ", ".join(map(repr, self._found))
            raise RuntimeError(f"the app has no BackfillBlueprint named {name!r}, only {names}")

    @property
    def _host(self) -> Host:
        return self.blueprint.host

    # Time

    @property
    def now(self) -> datetime:
        """The time for runs, in UTC and aware. It stands still until you move it."""
        return self._shared.hours.now

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> datetime:
        """Let time pass: for retry delays, leases, ``only_ended`` and ``run_timeout``.

        :returns: the new time.
        :raises TypeError: for what is no number.
        :raises ValueError: for more than there is time.
        """
        return self.travel_to(
            given.later(self.now, days=days, hours=hours, minutes=minutes, seconds=seconds)
        )

    def travel_to(self, moment: datetime) -> datetime:
        """Let it be another time, earlier or later.

        :param moment: in UTC if it is naive.
        :returns: the new time.
        :raises TypeError: for what is no datetime.
        """
        self._shared.hours.move(given.moment(moment))
        return self.now

    @contextmanager
    def _here(self) -> Iterator[None]:
        """The app context of the test, or one for this block."""
        app: t.Any = current_app
        if has_app_context() and app._get_current_object() is self.app:
            yield
        else:
            with self.app.app_context():
                yield
