"""Runs by Celery: real workers, a real Redis."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path

import celery_host
import pytest
from celery import Celery
from conftest import lacking
from conftest import takes_seconds
from conftest import wait_for as wait_a_minute_for
from sqlalchemy import Column
from sqlalchemy import DateTime
from sqlalchemy import Integer
from sqlalchemy import String

from flask_backfills import allow_anyone
from flask_backfills import backfill_updated
from flask_backfills import BackfillBlueprint
from flask_backfills.celery import CeleryDispatcher

# To ask the host takes time that its workers need.
wait_for = partial(wait_a_minute_for, seconds=240, every=0.25)

MINUTES = {"start_datetime": "2023-03-01", "interval_type": "minute", "interval_units": 1}


class Redis:
    """A server on loopback that forgets everything when it ends."""

    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(self._answers)

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path):
    if shutil.which("redis-server") is None:
        lacking("no redis-server: it is in Debian's package of that name")
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def served(runner, database_url, redis):
    """The host with a Celery app, over the tables of the test's own host."""
    app, _, dispatcher = celery_host.serve(database_url, redis.url)
    yield app, dispatcher
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()


@pytest.fixture
def put(served):
    client = served[0].test_client()

    def put(url, sent):
        response = client.put(url, json={"backfill": sent})
        assert response.status_code == 200, response.text
        return response.json

    return put


class Supervisor:
    """Starts Celery's processes, and starts those again that end, as systemd would.

    A worker whose broker goes away while it acknowledges a message may exit with 1.
    """

    app = "celery_host:celery_app"

    def __init__(self, folder, environment):
        self.folder = folder
        self.environment = {**os.environ, "C_FORCE_ROOT": "1", **environment}
        self.running = {}

    def start(self, name, *command):
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "--app", self.app, *command],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running[name] = process, command

    def start_worker(self, name, *options):
        hostname = ("--hostname", f"{name}@localhost")
        self.start(name, "worker", "--concurrency", "4", *hostname, *options)

    def kill(self, name):
        """All of its processes at once: nothing is told to anybody."""
        process, _ = self.running.pop(name)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def keep(self):
        for name, (process, command) in list(self.running.items()):
            if process.poll() is not None:
                self.start(name, *command)


@pytest.fixture
def supervisor(database_url, redis, tmp_path):
    found = Supervisor(
        tmp_path,
        {
            "PYTHONPATH": str(Path(__file__).parent),
            "DATABASE_URL": database_url,
            "BROKER": redis.url,
        },
    )
    yield found
    for name in list(found.running):
        found.kill(name)


def most_at_once(rows):
    """How many runs there were at a time, by their own timestamps."""
    moments = []
    for row in rows:
        moments.append((datetime.fromisoformat(row["started_at"]), 1))
        moments.append((datetime.fromisoformat(row["completed_at"]), -1))
    running = most = 0
    for _, step in sorted(moments):
        running += step
        most = max(most, running)
    return most


@takes_seconds
def test_every_run_completes_once_whatever_dies(runner, served, put, redis, supervisor):
    url = runner.post({**MINUTES, "end_datetime": "2023-03-01T03:59:00"}).headers["Location"]
    put(url, {"settings": {"pipeline_run_limit": 5}, "status": "initial"})

    def completed(number):
        supervisor.keep()
        return runner.statuses(url).get("completed", 0) >= number

    supervisor.start("beat", "beat", "--schedule", "beat")
    supervisor.start_worker("one")
    supervisor.start_worker("other")
    wait_for(lambda: completed(40))
    supervisor.kill("one")
    supervisor.start_worker("third")
    wait_for(lambda: completed(120))
    redis.stop()
    time.sleep(1)
    redis.start()
    wait_for(lambda: completed(240))
    wait_for(lambda: runner.get(url)["status"] == "completed")
    rows = runner.rows(url)
    assert runner.statuses(url) == {"completed": 240} and len(rows) == 240
    # Each function's metrics were added once, so each completed once.
    assert runner.get(url)["metrics"] == {"runs": 240}
    assert most_at_once(rows) <= 5


@takes_seconds
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_example_over_two_workers(example, supervisor, redis, database_url, tmp_path):
    host = example("celery_app/app.py")
    app = host.create_app(
        {"SQLALCHEMY_DATABASE_URI": database_url, "CELERY": {"broker_url": redis.url}}
    )
    supervisor.app = "examples.celery_app.worker"
    supervisor.environment |= {
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "FLASK_SQLALCHEMY_DATABASE_URI": database_url,
        "FLASK_CELERY__broker_url": redis.url,
    }
    for name in ("one", "two"):
        supervisor.start_worker(name, "--loglevel", "INFO")
    client = app.test_client()
    url = "/api/pipelines/visitors/backfills/1"

    def change(sent):
        response = client.put(url, json={"backfill": sent})
        assert response.status_code == 200, response.text
        return response.json["metadata"]["plan"]

    def counted():
        shown = client.get(f"{url}?include_run_count=true").json["backfill"]
        return shown["status"], shown["run_status_counts"].get("completed", 0)

    assert change({"status": "initial", "variables": {"seconds": 0.1}})["add"] == 121
    wait_for(lambda: counted()[1] > 20)
    assert change({"end_datetime": "2024-05-10"})["add"] == 10
    wait_for(lambda: counted() == ("completed", 131))
    for name in ("one", "two"):
        assert "succeeded" in (tmp_path / f"{name}.log").read_text()
    with app.app_context():
        host.db.engine.dispose()


class Sent:
    """What was sent to Redis, without a worker that takes it."""

    def __init__(self, celery_app):
        self.celery_app = celery_app

    def ids(self):
        """The runs of the messages in the queue, the first sent first."""
        with self.celery_app.connection_for_read() as connection:
            client = connection.default_channel.client
            messages = [json.loads(one) for one in client.lrange("celery", 0, -1)]
        bodies = [json.loads(base64.b64decode(message["body"])) for message in messages]
        return [args[0] for args, _, _ in reversed(bodies)]


@pytest.fixture
def sent(served):
    return Sent(served[1].celery_app)


def test_as_many_are_sent_as_there_is_room_for(runner, served, put, sent):
    app, dispatcher = served
    url = runner.post({**MINUTES, "end_datetime": "2023-03-01T00:19:00"}).headers["Location"]
    put(url, {"settings": {"pipeline_run_limit": 3}, "status": "initial"})
    ids = [row["id"] for row in runner.rows(url)]
    assert sent.ids() == ids[:3]
    put(url, {"variables": {"n": 1}})
    put(url, {"settings": {"pipeline_run_limit": 5}})
    assert sent.ids() == ids[:5]
    put(url, {"settings": {"pipeline_run_limit": 5, "paused": True}})
    with app.app_context():
        # What comes while it is paused goes out of the queue, and is sent at the resume.
        assert [dispatcher.run_task.run(key) for key in ids[:2]] == [None, None]
    assert {row["status"] for row in runner.rows(url)} == {"initial"}
    put(url, {"settings": {"pipeline_run_limit": 5}})
    assert sent.ids() == [*ids[:5], *ids[:2]]
    with app.app_context():
        # One that ends sends the next; one that has ended, was cancelled or never was, nothing.
        for key in (ids[0], ids[0], 10**6):
            dispatcher.run_task.run(key)
    assert sent.ids() == [*ids[:5], *ids[:2], ids[5]]
    assert runner.statuses(url) == {"completed": 1, "initial": 19}
    assert runner.get(url)["metrics"] == {"runs": 1}
    # Without a limit it is the dispatcher's own.
    dispatcher.most = 8
    put(url, {"settings": {}})
    assert sent.ids() == [*ids[:5], *ids[:2], *ids[5:9]]


def test_a_canary_is_sent_first_and_the_rest_once_it_goes_on(runner, served, put, sent):
    app, dispatcher = served
    url = runner.post({**MINUTES, "end_datetime": "2023-03-01T00:09:00"}).headers["Location"]
    put(url, {"settings": {"canary": 2}, "status": "initial"})
    ids = [row["id"] for row in runner.rows(url)]
    assert sent.ids() == [ids[0], ids[-1]]
    with app.app_context():
        for key in (ids[0], ids[-1]):
            dispatcher.run_task.run(key)
    assert runner.get(url)["settings"] == {"canary": 2, "paused": True}
    assert len(sent.ids()) == 2
    put(url, {"settings": {"canary": 2, "paused": False}})
    assert sent.ids()[2:] == ids[1:-1]


def test_what_is_over_the_limit_by_now_is_not_run(runner, served, put):
    app, dispatcher = served
    url = runner.post({**MINUTES, "end_datetime": "2023-03-01T00:09:00"}).headers["Location"]
    put(url, {"settings": {"pipeline_run_limit": 3}, "status": "initial"})
    ids = [row["id"] for row in runner.rows(url)]
    put(url, {"settings": {"pipeline_run_limit": 1}})
    with app.app_context():
        runs = dispatcher.blueprint.runs
        first = runs.begin(ids[0])
        assert first.variables["hr"] == "00" and runs.begin(ids[1]) is None
        assert runs.finish(first.id, "completed", attempt=first.attempt)
        assert runs.begin(ids[1]).id == ids[1]


@takes_seconds
def test_cancelling_revokes_what_is_queued(runner, served, put, sent, supervisor):
    url = runner.post({**MINUTES, "end_datetime": "2023-03-01T00:19:00"}).headers["Location"]
    put(url, {"variables": {"seconds": 3}, "status": "initial"})
    supervisor.start_worker("one")
    wait_for(lambda: runner.statuses(url).get("running") == 4)
    inspect = served[1].celery_app.control.inspect()
    put(url, {"status": "cancelled"})
    revoked = wait_for(lambda: (inspect.revoked() or {}).get("one@localhost"))
    assert len(revoked) == 16
    time.sleep(1.5)
    assert runner.statuses(url) == {"cancelled": 20}
    # Cancelled runs that are started again are sent again, and not taken for the revoked ones.
    put(url, {"status": "initial", "variables": {}})
    wait_for(lambda: runner.get(url)["status"] == "completed")
    assert runner.statuses(url) == {"completed": 20}


def test_a_change_stands_when_the_broker_is_away(runner, served, put, redis, sent):
    app, dispatcher = served
    url = runner.post({**MINUTES, "end_datetime": "2023-03-01T00:04:00"}).headers["Location"]
    redis.stop()
    assert put(url, {"status": "initial"})["metadata"]["plan"]["add"] == 5
    assert put(url, {"status": "cancelled"})["backfill"]["status"] == "cancelled"
    assert put(url, {"status": "initial"})["metadata"]["plan"]["redo"] == 5
    redis.start()
    with app.app_context():
        assert dispatcher.recover() == 0
    assert len(sent.ids()) == 5


def test_a_lost_message_is_found_after_the_lease(runner, served, put, redis, sent):
    app, dispatcher = served
    url = runner.post({**MINUTES, "end_datetime": "2023-03-01T00:04:00"}).headers["Location"]
    put(url, {"status": "initial"})
    redis.stop()
    redis.start()
    with app.app_context():
        assert (dispatcher.recover(), sent.ids()) == (0, [])
        app.config["BACKFILLS_LEASE"] = 0
        assert dispatcher.recover() == 5
    assert len(sent.ids()) == 5


def test_another_table_of_the_app_is_not_sent(runner, served, sent):
    app, dispatcher = served
    blueprint = app.blueprints["backfills"]
    backfill_updated.send(app, backfill=object(), changes={"status": (None, "initial")})
    assert sent.ids() == [] and dispatcher.blueprint is blueprint


def test_a_run_model_must_map_when_a_run_was_queued(bare):
    class Run(bare.db.Model):
        id = Column(Integer, primary_key=True)
        backfill_id = Column(Integer)
        key = Column(String(255))
        status = Column(String(16))
        execution_date = Column(DateTime)

    bare.serve()
    blueprint = BackfillBlueprint(
        bare.model, bare.db.session, authorize=allow_anyone, run_model=Run
    )
    with pytest.raises(TypeError, match="Run has no attribute queued_at:"):
        CeleryDispatcher(Celery("host"), blueprint)
    with pytest.raises(TypeError, match="pass run_model="):
        CeleryDispatcher(Celery("host"), bare.blueprint)
