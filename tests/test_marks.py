"""Runs that can't be renewed, since their runners' transactions could not write their end then."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from conftest import Host
from conftest import takes_seconds
from conftest import wait_for
from processes import begin

from flask_backfills import BackfillRunMixin

pytestmark = takes_seconds

START = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-01", "interval_type": "day"}
START |= {"interval_units": 1, "status": "initial"}

#: Long enough for a machine on which much else is tested.
LEASE = 2.4


@pytest.fixture
def server(database_url):
    if database_url.startswith("sqlite"):
        pytest.skip("there, nobody writes while somebody reads")
    return database_url


def serve(url, level="REPEATABLE READ", run_model=None, refuses="ON", **options):
    """A host whose transactions can't write what others have written since they began."""
    host = Host(url, isolation_level=level, **options)

    def refuse(connection, record):
        connection.cursor().execute(f"SET SESSION innodb_snapshot_isolation = {refuses}")

    with host.app.app_context():
        if not url.startswith("postgresql"):
            sa.event.listen(host.db.engine, "connect", refuse)
    host.app.config["BACKFILLS_LEASE"] = LEASE
    host.serve(run_model=run_model(host) if run_model else host.run_model())
    return host


@pytest.fixture
def host(server, request):
    host = serve(server, **getattr(request, "param", {}))
    yield host
    host.close()


def read(host):
    return host.db.session.scalars(sa.select(host.model.status)).all()


class Recovering:
    """Another worker that looks for dead ones all the time, with a session of its own."""

    def __init__(self, host):
        self.host = host
        self.taken = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.done.wait(0.02):
            self.taken += self.host.recover(None)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *raised):
        self.done.set()
        self.thread.join()


def nested(host):
    with host.app.app_context():
        read(host)


def committed_below(host):
    driver = host.db.session.connection().connection.driver_connection
    driver.commit()


def another_level(host):
    host.db.session.rollback()
    host.db.session.connection(execution_options={"isolation_level": "repeatable_read"})


#: What a runner does after it has read for longer than a lease.
DO = {
    "nothing": lambda host: None,
    "commit": lambda host: host.db.session.commit(),
    "rollback": lambda host: host.db.session.rollback(),
    "close": lambda host: host.db.session.close(),
    "remove": lambda host: host.db.session.remove(),
    "an app context": nested,
    "a commit of the driver": committed_below,
    "a level of its own": another_level,
    "another worker's work": lambda host: host.recover(None),
}


@pytest.mark.parametrize("do", DO)
def test_a_run_that_reads_for_longer_than_its_lease_is_done_once(host, do):
    called = []

    @host.blueprint.runner
    def run(run):
        called.append(run.attempt)
        read(host)
        time.sleep(1.3 * LEASE)
        DO[do](host)
        time.sleep(0.3 * LEASE)
        if do != "a commit of the driver":
            read(host)
        time.sleep(0.3 * LEASE)

    host.put(START)
    with Recovering(host) as others:
        host.work()
    assert (called, others.taken) == ([1], 0)
    assert host.stored("status", "losses") == [("completed", None)]


def without_workers(host):
    class Run(BackfillRunMixin, host.db.Model):
        __tablename__ = "backfill_run"
        worker = None

    return Run


def with_workers_of_a_length(host):
    class Run(BackfillRunMixin, host.db.Model):
        __tablename__ = "backfill_run"
        worker = sa.Column(sa.CHAR(255))

    return Run


WAYS = {
    "its engine is stricter": {"level": "SERIALIZABLE"},
    "its engine is not strict": {"level": "READ COMMITTED"},
    "it has no pool": {"poolclass": sa.NullPool},
    "its runs don't tell their workers": {"run_model": without_workers},
    "its column of workers has a length": {"run_model": with_workers_of_a_length},
}


@pytest.mark.parametrize("host", WAYS.values(), indirect=True, ids=WAYS)
def test_it_is_done_once_in_every_host(host):
    called = []

    @host.blueprint.runner
    def run(run):
        called.append(run.attempt)
        # Whatever the engine's level is.
        host.db.session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        read(host)
        time.sleep(1.6 * LEASE)
        host.db.session.rollback()
        time.sleep(0.3 * LEASE)

    host.put(START)
    with Recovering(host) as others:
        host.work()
    assert (called, others.taken) == ([1], 0)


def test_between_its_transactions_its_lease_is_renewed(host):
    beats = []

    @host.blueprint.runner
    def run(run):
        beats.append(run.heartbeat_at)
        read(host)
        time.sleep(1.2 * LEASE)
        host.db.session.rollback()
        with ThreadPoolExecutor() as pool:
            beats.append(pool.submit(wait_for, lambda: renewed(beats[0])).result())

    def renewed(since):
        [beat] = host.stored("heartbeat_at")
        return beat if beat > since else None

    host.put(START)
    host.work()
    first, second = beats
    assert (second - first).total_seconds() > LEASE


def test_what_only_reads_may_say_so(server):
    if not server.startswith("postgresql"):
        pytest.skip("of PostgreSQL")
    host = serve(server)

    @host.blueprint.runner
    def run(run):
        options = {"postgresql_readonly": True, "isolation_level": "SERIALIZABLE"}
        host.db.session.connection(execution_options=options)
        read(host)
        time.sleep(0.5 * LEASE)
        return {"rows": 1}

    host.put(START)
    host.work()
    found = host.stored("status", "losses"), host.get()["metrics"]
    host.close()
    assert found == ([("completed", None)], {"rows": 1})


def test_a_process_that_stands_still_is_heard_of_no_longer_than_a_lease(host, server):
    host.put(START)
    with begin("stand", server, "") as process:
        assert process.stdout.readline() == '"2023-03-01T00:00:00"\n'
        time.sleep(1.5 * LEASE)
        before = host.recover(None)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: host.recover(None), 10 * LEASE)
        finally:
            process.kill()
            process.communicate()
    assert (before, host.stored("status")) == (0, ["initial"])


def test_an_end_that_can_not_be_written_leaves_no_mark(host, server):
    other = sa.create_engine(server)
    called = []

    @host.blueprint.runner
    def run(run):
        called.append(run.attempt)
        read(host)
        time.sleep(1.2 * LEASE)
        if len(called) == 1:
            lock_it_for_longer()

    def lock_it_for_longer():
        locks.execute(sa.text("SELECT id FROM backfill_run FOR UPDATE"))
        threading.Timer(2.5 * LEASE, locks.rollback).start()

    with other.connect() as locks:
        host.put(START)
        host.work(idle=0.1)
        wait_for(lambda: host.recover(None) or host.stored("status") == ["completed"], 20)
        host.work()
    other.dispose()
    assert host.stored("status") == ["completed"]


def test_a_lease_that_is_renewed_while_a_dead_worker_is_looked_for_is_seen(server):
    """Where rows of a runner's own have its run locked, its commit renews the lease."""
    host = serve(server, "READ COMMITTED", refuses="OFF")
    committed, looked, called = threading.Event(), threading.Event(), []

    def wait(connection, cursor, statement, *rest):
        of_runs = statement.startswith("SELECT backfill_run.id")
        if threading.current_thread() is looking and of_runs and not looked.is_set():
            looked.set()
            committed.wait(10)

    @host.blueprint.runner
    def run(run):
        called.append(run.attempt)
        run.error = "mine"
        host.db.session.flush()
        time.sleep(1.3 * LEASE)
        looking.start()
        assert looked.wait(10)
        host.db.session.commit()
        committed.set()
        looking.join()
        # Its lease is renewed in time.
        time.sleep(0.2 * LEASE)

    taken = []
    looking = threading.Thread(target=lambda: taken.append(host.recover(None)))
    with host.app.app_context():
        sa.event.listen(host.db.engine, "after_cursor_execute", wait)
    host.put(START)
    host.work()
    found = host.stored("status")
    host.close()
    assert (called, taken, found) == ([1], [0], ["completed"])
