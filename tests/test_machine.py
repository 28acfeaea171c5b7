"""The whole life of a backfill, driven at random, against a simple model of it in memory."""

import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

from conftest import CI
from conftest import Host
from conftest import unwatched
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
            elif (
                run["length"] != self.step
                or run["status"] in again
                or (run["status"] == "cancelled" and not run["wanted"])
            ):
                # What was cancelled while it ran stays its worker's until that lets go of it.
                run.update(status="initial", length=self.step, attempt=run["attempt"] + 1)
                run.update(tries=0, delayed=False)
            run["wanted"] = True
        for day in [day for day in self.runs if day not in self.wanted()]:
            if self.runs[day]["status"] == "initial" and not self.runs[day].get("held"):
                del self.runs[day]
            elif self.runs[day]["status"] == "initial":
                self.runs[day].update(status="cancelled", wanted=False)
            else:
                self.runs[day]["wanted"] = False
        return True

    def statuses(self):
        counted = Counter(run["status"] for run in self.runs.values() if run["wanted"])
        counted["running"] = sum(run["status"] == "running" for run in self.runs.values())
        return counted

    def held(self):
        """How many runs workers have, be it that they were cancelled."""
        return sum(bool(run.get("held")) for run in self.runs.values())

    def lose(self):
        """Every worker dies."""
        for run in self.runs.values():
            if not run.pop("held", False) or run["status"] != "running":
                continue
            if not run["wanted"]:
                run["status"] = "cancelled"
            elif run["tries"] >= max(3, self.settings.get("max_attempts", 1)):
                run["status"] = "failed"
            else:
                run.update(status="initial", attempt=run["attempt"] + 1)
        self.settle()

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
        room = self.settings.get("pipeline_run_limit", 10**9) - self.held()
        waiting = sorted(
            day
            for day, run in self.runs.items()
            if run["status"] == "initial" and not run.get("held") and not run.get("delayed")
        )
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
                {"max_attempts": 2},
                {"max_attempts": 5, "pipeline_run_limit": 2},
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
            there = self.model.runs[day]
            there.update(status="running", held=True, tries=there.get("tries", 0) + 1)
            there.update(worker=run.worker, id=run.id)
            self.claimed.setdefault(day, []).append(run)
        if found:
            self.model.status = "running"

    @rule(limit=st.integers(1, 4), status=st.sampled_from(["completed", "failed"]))
    def work(self, limit, status):
        self.claim(limit)
        for day in sorted(self.claimed):
            while day in self.claimed:
                self.end(day, status)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), status=st.sampled_from(["completed", "completed", "failed"]))
    def finish(self, data, status):
        self.end(data.draw(st.sampled_from(sorted(self.claimed))), status)

    def end(self, day, status):
        run, there, still = self.take(day)
        with self.host.app.app_context():
            assert self.host.blueprint.runs.finish(run, status) is still
        if still and status == "failed" and there["wanted"] and self.tries_left(there):
            there.update(status="initial", attempt=there["attempt"] + 1, delayed=True)
        elif still:
            there["status"] = status
        if still:
            self.model.settle()

    def take(self, day):
        """One of those who claimed the run of a day, the run, and whether it is still theirs."""
        run = self.claimed[day].pop(0)
        if not self.claimed[day]:
            del self.claimed[day]
        there = self.model.runs.get(day, {})
        if there.get("id") not in (None, run.id):
            there = {}
        still = there.get("status") == "running" and there["attempt"] == run.attempt
        if still or run.worker == there.get("worker"):
            there.pop("held", None)
        return run, there, still

    def tries_left(self, there):
        return there["tries"] < self.model.settings.get("max_attempts", 1)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def give_back(self, data):
        run, there, still = self.take(data.draw(st.sampled_from(sorted(self.claimed))))
        with self.host.app.app_context():
            assert self.host.blueprint.runs.give_back([run]) == still
        if still and there["wanted"]:
            there.update(status="initial", tries=there["tries"] - 1)
        elif still:
            there.update(status="cancelled")
        self.model.settle()

    @rule()
    def lose_workers(self):
        with self.host.app.app_context():
            self.host.blueprint.runs.recover(older_than=timedelta(0))
        self.model.lose()

    @rule(start=DAYS, length=st.integers(2, 6))
    def delete(self, start, length):
        active = any(run["status"] in ACTIVE for run in self.model.runs.values())
        active = active or bool(self.model.held())
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


@unwatched
def test_a_simple_model_and_the_product_never_differ():
    run_state_machine_as_test(
        Life, settings=settings(max_examples=16 if CI else 3, stateful_step_count=40)
    )
