"""Starting, cancelling, counting and paging runs: time and peak memory as N grows.

Each N is measured in a process of its own, so that its peak memory is its own.
"""

import contextlib
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from datetime import timedelta

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin

SIZES = (1_000, 10_000, 100_000)
LIST = "/api/pipelines/p/backfills"


@contextlib.contextmanager
def databases():
    """Functions from a name to a URL: SQLite in memory, and the servers that are named to us."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        found = {"SQLite": lambda name: f"sqlite:///{folder}/{name}.db"}
        for title in ("PostgreSQL", "MariaDB"):
            if url := os.environ.get(f"BACKFILLS_TEST_{title.upper()}"):
                found[title] = lambda name, url=url: url
        yield found


def timed(call, *args, **kwargs):
    gc.collect()
    begun = time.perf_counter()
    response = call(*args, **kwargs)
    taken = time.perf_counter() - begun
    assert response.status_code < 300, response.text
    return taken, response


def after(minutes):
    return (datetime(2003, 3, 5) + timedelta(minutes=minutes)).isoformat()


def peak_memory():
    """Kilobytes at the highest, of this process alone: rusage tells its parent's too."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def window(count):
    step = {"interval_type": "minute", "interval_units": 1}
    return {"start_datetime": after(0), "end_datetime": after(count - 1), **step}


def create_app(url, with_runs, empty=True):
    """A host: the app, its database, and the model of its runs.

    :param empty: whether its tables are created anew.
    """
    app = Flask("runs")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)

    class Backfill(BackfillMixin, db.Model):
        __tablename__ = "bench_backfill"

    class BackfillRun(BackfillRunMixin, db.Model):
        __tablename__ = "bench_run"

    options = {"run_model": BackfillRun} if with_runs else {}
    app.register_blueprint(
        BackfillBlueprint(Backfill, db.session, authorize=allow_anyone, **options)
    )
    if empty:
        with app.app_context():
            db.drop_all()
            db.create_all()
    return app, db, BackfillRun


def measure(url, count):
    app, db, BackfillRun = create_app(url, with_runs=True)
    client = app.test_client()
    # So that what is imported and compiled once is not counted.
    client.post(LIST, json={"backfill": {**window(10), "status": "initial"}})

    before = peak_memory()
    sent = {"backfill": {**window(count), "status": "initial", "variables": {"env": "prod"}}}
    start, response = timed(client.post, LIST, json=sent)
    memory = peak_memory() - before
    url = response.headers["Location"]
    core = insert_by_core(app, db, BackfillRun, count)
    shifted = {"start_datetime": after(count // 10), "end_datetime": after(count + count // 10 - 1)}
    dry, _ = timed(client.put, f"{url}?dry_run=true", json={"backfill": shifted})
    shift, _ = timed(client.put, url, json={"backfill": shifted})
    counting, _ = timed(client.get, f"{url}?include_run_count=true")
    cancel, _ = timed(client.put, url, json={"backfill": {"status": "cancelled"}})
    with app.app_context():
        db.drop_all()
    found = {"start": start, "core": core, "dry run of a shift": dry, "shift": shift}
    return {**found, "count": counting, "cancel": cancel, "memory": memory / 1024}


def insert_by_core(app, db, model, count):
    """The same rows by SQLAlchemy Core's executemany, made beforehand."""
    table = model.__table__
    with app.app_context():
        query = sa.select(table).where(table.c.backfill_id == 2)
        rows = [dict(row._mapping) for row in db.session.execute(query)]
        db.session.rollback()
        assert len(rows) == count
        for row in rows:
            del row["id"]
            row["backfill_id"] = 3
        gc.collect()
        begun = time.perf_counter()
        db.session.execute(sa.insert(table), rows)
        db.session.commit()
        return time.perf_counter() - begun


def curve(url_for):
    """By size, the medians of three processes."""
    found = {}
    for size in SIZES:
        told = []
        for _ in range(3):
            command = [sys.executable, __file__, url_for(size), str(size)]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            told.append(json.loads(out))
        found[size] = {key: statistics.median(one[key] for one in told) for key in told[0]}
    return found


def pages_of_windows():
    """Seconds to count a window and to page it at its end, by its length."""
    app, _, _ = create_app("sqlite://", with_runs=False)
    client = app.test_client()
    found = {}
    for count in (10, 1_440, 10_519_201):
        url = client.post(LIST, json={"backfill": window(count)}).headers["Location"]
        page = f"include_preview_runs=true&_limit=20&_offset={count - 10}"
        queries = {"count": "include_run_count=true", "page": page}
        found[count] = {
            name: statistics.median(timed(client.get, f"{url}?{query}")[0] for _ in range(200))
            for name, query in queries.items()
        }
    return found


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
