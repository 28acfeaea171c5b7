"""Runs whose rows their runners have locked, and machines that were asleep."""

import threading
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa
from conftest import Host

START = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-02", "interval_type": "day"}
START |= {"interval_units": 1, "status": "initial"}


def apart(do):
    """What something returns in a thread of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(do()))
    thread.start()
    thread.join(60)
    assert found, "it waits"
    return found[0]


@pytest.mark.parametrize("level", [None, "REPEATABLE READ"])
@pytest.mark.parametrize("how", ["its own row", "a row of the host's"])
def test_a_run_that_was_locked_for_a_lease_is_not_taken_back_once_it_is_free(
    database_url, level, how
):
    if level and database_url.startswith("sqlite"):
        pytest.skip("it has one level")
    host = Host(database_url, **({"isolation_level": level} if level else {}))
    host.app.config["BACKFILLS_LEASE"] = 1.5
    host.serve(run_model=host.run_model())
    taken, attempts = [], []

    @host.blueprint.runner
    def run(run):
        attempts.append(run.attempt)
        if len(attempts) > 1:
            return
        if how == "its own row":
            run.error = "mine"
        else:
            host.db.session.add(host.model(pipeline_uuid="mine"))
        host.db.session.flush()
        # Meanwhile nobody can renew its lease, or it is not renewed at this level.
        time.sleep(2)
        host.db.session.commit()
        # As another worker does, at once.
        taken.append(apart(lambda: host.recover(None)))

    host.put({**START, "end_datetime": "2023-03-01"})
    host.work()
    found = host.stored("status", "attempt")
    host.close()
    assert (taken, attempts, found) == ([0], [1], [("completed", 1)])


def test_a_machine_that_was_asleep_asks_for_the_time_and_loses_what_was_taken(own_runner):
    own_runner.put(START)
    own_runner.claim()
    clock = own_runner.blueprint.host.table.database.clock
    told, ticks = clock.now(), clock.ticks
    # What it was told before it slept for 100 seconds, in which its other clock stood still.
    clock.wall = lambda: time.time() - 100
    clock.set(told - timedelta(seconds=100))
    clock.wall = time.time
    assert clock.is_old and ticks is clock.ticks
    [run] = own_runner.claim()
    model = own_runner.blueprint.host.run_model
    with own_runner.app.app_context():
        beat = own_runner.db.session.scalars(sa.select(sa.func.max(model.heartbeat_at))).one()
    # SQLite's time is the machine's own.
    assert (beat.replace(tzinfo=told.tzinfo) - told).total_seconds() > -1
    assert own_runner.recover() == 2
    again = own_runner.claim(limit=2)
    assert not own_runner.end(run, "completed", {"rows": 1})
    assert [own_runner.end(one, "completed", {"rows": 1}) for one in again] == [True, True]
    assert own_runner.get()["metrics"] == {"rows": 2}
