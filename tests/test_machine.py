"""The whole life of a backfill, driven at random, against a simple model of it in memory."""

import os
import tempfile
from collections import Counter
from pathlib import Path

from conftest import Host
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize
from hypothesis.stateful import invariant
from hypothesis.stateful import precondition
from hypothesis.stateful import rule
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import run_state_machine_as_test

ACTIVE = ("initial", "running")
DAYS = st.integers(1, 12)

#: So many lives where all is tested; fewer while one works, since each takes a third of a second.
LIVES = 60 if os.environ.get("CI") == "true" else 20


class Model:
    """A backfill of days, and its runs by day: status, length in days, attempt, wanted."""

    def __init__(self, start, end):
        self.start, self.end, self.step = start, end, 1
        self.status = None
        self.settings = {}
        self.runs = {}

    def wanted(self):
        return range(self.start, self.end + 1, self.step)

    def plan(self, again):
        """Plan in place, or say that it can't be."""
        before = {day: dict(run) for day, run in self.runs.items()}
        for day in self.wanted():
            run = self.runs.get(day)
            if run is None:
                self.runs[day] = {"status": "initial", "length": self.step, "attempt": 1}
                run = self.runs[day]
            elif run["length"] != self.step and run["status"] == "running":
                self.runs = before
                return False
            elif run["status"] == "initial":
                run["length"] = self.step
            elif run["length"] != self.step or run["status"] in again:
                run.update(status="initial", length=self.step, attempt=run["attempt"] + 1)
            run["wanted"] = True
        for day in [day for day in self.runs if day not in self.wanted()]:
            if self.runs[day]["status"] == "initial":
                del self.runs[day]
            else:
                self.runs[day]["wanted"] = False
        return True

    def statuses(self):
        counted = Counter(run["status"] for run in self.runs.values() if run["wanted"])
        counted["running"] = sum(run["status"] == "running" for run in self.runs.values())
        return counted

    def ending(self):
        found, most = self.statuses(), self.settings.get("max_failures")
        if found["running"] or self.status not in ACTIVE:
            return None
        if most and found["failed"] >= most:
            return "failed"
        if found["initial"]:
            return None
        return "failed" if found["failed"] else "completed"

    def settle(self):
        ending = self.ending()
        if ending:
            self.close(ending)

    def close(self, status):
        self.status = status
        for run in self.runs.values():
            if run["status"] in ACTIVE:
                run["status"] = "cancelled"

    def claimable(self):
        found = self.statuses()
        if self.status not in ACTIVE or self.settings.get("paused"):
            return []
        if found["failed"] >= self.settings.get("max_failures", 10**9):
            return []
        room = self.settings.get("pipeline_run_limit", 10**9) - found["running"]
        waiting = sorted(day for day, run in self.runs.items() if run["status"] == "initial")
        if self.settings.get("order") == "backwards":
            waiting.reverse()
        return waiting[: max(room, 0)]


class Life(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.host = Host(f"sqlite:///{Path(self.folder.name)}/life.db")
        self.host.serve(run_model=self.host.run_model())

    def teardown(self):
        self.host.close()
        self.folder.cleanup()

    def day(self, number):
        return f"2023-03-{number:02}"

    def put(self, **sent):
        return self.host.put(sent, self.url)

    @initialize(start=DAYS, length=st.integers(2, 6), status=st.sampled_from([None, "initial"]))
    def create(self, start, length, status):
        sent = {"start_datetime": self.day(start), "end_datetime": self.day(start + length)}
        sent |= {"interval_type": "day", "interval_units": 1, "status": status}
        self.url = self.host.post(sent).headers["Location"]
        self.model, self.claimed = Model(start, start + length), {}
        if status:
            self.model.plan(())
            self.model.status = status

    @rule(start=DAYS, length=st.integers(0, 6), step=st.sampled_from([1, 1, 1, 2, 3]))
    def edit(self, start, length, step):
        model, end = self.model, start + length
        old = model.start, model.end, model.step
        response = self.put(
            start_datetime=self.day(start), end_datetime=self.day(end), interval_units=step
        )
        model.start, model.end, model.step = start, end, step
        if model.status in ACTIVE and (start, end, step) != old:
            if not model.plan(()):
                model.start, model.end, model.step = old
                assert response.status_code == 409
                return
            model.settle()
        assert response.status_code == 200, response.text

    @rule(
        settings=st.sampled_from(
            [
                {},
                {"paused": True},
                {"paused": False, "pipeline_run_limit": 2},
                {"pipeline_run_limit": 1, "order": "backwards"},
                {"order": "backwards", "max_failures": 2},
                {"max_failures": 1, "reprocess": "all"},
                {"reprocess": "none"},
                {"reprocess": "all", "order": "backwards"},
            ]
        )
    )
    def change_settings(self, settings):
        assert self.put(settings=settings).status_code == 200
        changed, self.model.settings = settings != self.model.settings, settings
        if changed:
            self.model.settle()

    @rule(status=st.sampled_from(["initial", "initial", "running"]))
    def start(self, status):
        model = self.model
        allowed = {
            None: ("initial", "running"),
            "initial": ("initial", "running"),
            "running": ("running",),
            "failed": ("initial", "running"),
        }.get(model.status, ("initial",))
        response = self.put(status=status)
        if status not in allowed:
            assert response.status_code == 409
        elif model.status in ACTIVE:
            model.status = status
            assert response.status_code == 200
        else:
            again = {"all": ("failed", "cancelled", "completed"), "none": ()}.get(
                model.settings.get("reprocess"), ("failed", "cancelled")
            )
            old, runs = model.status, {day: dict(run) for day, run in model.runs.items()}
            planned = model.plan(again)
            model.status = status
            if not planned or model.ending():
                model.status, model.runs = old, runs
                assert response.status_code == 409, response.text
            else:
                assert response.status_code == 200, response.text

    @rule(status=st.sampled_from(["cancelled", "completed", "failed"]))
    def close(self, status):
        model = self.model
        response = self.put(status=status)
        if model.status in ("completed", "cancelled") and status != model.status:
            assert response.status_code == 409
        elif model.status == "failed" and status == "completed":
            assert response.status_code == 409
        else:
            assert response.status_code == 200
            if status != model.status:
                model.close(status)

    @rule(limit=st.integers(1, 3))
    def claim(self, limit):
        expected = self.model.claimable()[:limit]
        found = self.host.claim(int(self.url.rsplit("/", 1)[1]), limit)
        assert [int(run.key[8:10]) for run in found] == expected
        for day, run in zip(expected, found, strict=True):
            self.model.runs[day]["status"] = "running"
            self.claimed[day] = run
        if found:
            self.model.status = "running"

    @rule(limit=st.integers(1, 4), status=st.sampled_from(["completed", "failed"]))
    def work(self, limit, status):
        self.claim(limit)
        for day in sorted(self.claimed):
            self.end(day, status)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), status=st.sampled_from(["completed", "completed", "failed"]))
    def finish(self, data, status):
        self.end(data.draw(st.sampled_from(sorted(self.claimed))), status)

    def end(self, day, status):
        run = self.claimed.pop(day)
        there = self.model.runs.get(day, {})
        still = there.get("status") == "running" and there["attempt"] == run.attempt
        assert self.host.finish(run, status, attempt=run.attempt) is still
        if still:
            there["status"] = status
            self.model.settle()

    @rule(start=DAYS, length=st.integers(2, 6))
    def delete(self, start, length):
        active = any(run["status"] in ACTIVE for run in self.model.runs.values())
        response = self.host.client.delete(self.url)
        assert response.status_code == (409 if active else 200)
        if not active:
            assert self.host.client.get(self.url).status_code == 404
            self.create(start, length, "initial")

    @invariant()
    def they_never_differ(self):
        model = self.model
        shown = self.host.get(f"{self.url}?include_run_count=true")
        assert shown["status"] == model.status
        assert shown["start_datetime"].startswith(self.day(model.start))
        assert shown["total_run_count"] == len(model.wanted())
        wanted = [run["status"] for run in model.runs.values() if run["wanted"]]
        assert shown["run_status_counts"] == dict(Counter(wanted))
        rows = self.host.rows(self.url)
        assert {int(row["key"][8:10]): (row["status"], row["attempt"]) for row in rows} == {
            day: (run["status"], run["attempt"]) for day, run in model.runs.items()
        }
        statuses = {run["status"] for run in model.runs.values()}
        assert model.status in ACTIVE or not statuses & set(ACTIVE)
        assert model.status not in ACTIVE or statuses & set(ACTIVE)


def test_a_simple_model_and_the_product_never_differ():
    run_state_machine_as_test(
        Life, settings=settings(max_examples=LIVES, stateful_step_count=40, deadline=None)
    )
