"""The host app of tests/stress.py: its tables, its runner, and the journal of what was executed.

The runner writes a row of the host's own that refers to the backfill and to the run, flushes it,
works on, and leaves the commit to the worker. What it does for a run follows from the seed and
the run alone, so that it is the same whoever executes it.
"""

import asyncio
import ctypes
import functools
import itertools
import json
import os
import random
import signal
import sys
import time
from datetime import timezone

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy import ForeignKey
from sqlalchemy import String
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin

#: What a run may be beside plain, and how often in a thousand.
NATURES = {"raises": 30, "flaky": 40, "exits": 10, "cancels": 10, "long": 20, "poison": 5}

#: Those that can't complete, however often they are tried.
HOPELESS = ("raises", "exits", "cancels", "poison")

#: Of Linux: the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1

_numbers = itertools.count()


def nature_of(config, incarnation, key):
    """What a run is like: ``plain`` or one of :data:`NATURES`."""
    number = random.Random(f"{config['seed']}/{incarnation}/{key}").randrange(1000)
    for nature, share in NATURES.items():
        number -= share
        if number < 0:
            return "plain" if nature in config["without"] else nature
    return "plain"


def amount_of(incarnation, key):
    """The number that a run writes and returns."""
    return random.Random(f"amount/{incarnation}/{key}").randint(1, 9)


class Journal:
    """A file of JSON lines that all processes append to.

    It is not in the database, since it tells what happened and not what was committed.
    """

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what, **facts):
        line = json.dumps({"what": what, "at": time.time(), **facts})
        # One write of one line, which the system appends whole.
        os.write(self.file, f"{line}\n".encode())


def create_app(config):
    """A host app for a database: the app, its ``db``, the blueprint and the table of effects."""
    app = Flask("stress")
    app.config["SQLALCHEMY_DATABASE_URI"] = config["url"]
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(config)
    app.config["BACKFILLS_LEASE"] = config["lease"]
    db = SQLAlchemy(app)

    class Backfill(BackfillMixin, db.Model):
        __tablename__ = "backfill"

    class BackfillRun(BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"
        backfill_id: Mapped[int] = mapped_column(ForeignKey("backfill.id"))

    class Effect(db.Model):
        __tablename__ = "effect"
        id: Mapped[int] = mapped_column(primary_key=True)
        # What is deleted takes its effects along, or the host's rows would forbid to delete it.
        backfill_id: Mapped[int] = mapped_column(ForeignKey("backfill.id", ondelete="CASCADE"))
        run_id: Mapped[int] = mapped_column(ForeignKey("backfill_run.id", ondelete="CASCADE"))
        attempt: Mapped[int]
        incarnation: Mapped[int]
        key: Mapped[str] = mapped_column(String(255))
        amount: Mapped[int]

    blueprint = BackfillBlueprint(
        Backfill, db.session, authorize=allow_anyone, run_model=BackfillRun
    )
    app.register_blueprint(blueprint)
    with app.app_context():
        event.listen(db.engine, "connect", functools.partial(prepare_connection, config))
    journal = Journal(config["journal"])
    blueprint.runner(functools.partial(execute, config, journal, db, Backfill, Effect))
    return app, db, blueprint


def engine_options(config):
    if config["url"].startswith("sqlite"):
        # It has no queue for its lock: among many who ask all the time, one may wait long.
        return {"connect_args": {"timeout": 20}}
    return {"isolation_level": config["isolation"]} if config["isolation"] else {}


def prepare_connection(config, connection, record):
    cursor = connection.cursor()
    if config["url"].startswith("sqlite"):
        cursor.execute("PRAGMA foreign_keys = ON")
    elif config["snapshot"]:
        cursor.execute("SET SESSION innodb_snapshot_isolation = ON")
    cursor.close()


def execute(config, journal, db, Backfill, Effect, run):
    """The runner: note that it begins and ends, and work between."""
    incarnation = run.variables["incarnation"]
    number = f"{os.getpid()}/{next(_numbers)}"
    journal.note(
        "begin",
        number=number,
        pid=os.getpid(),
        run=run.id,
        backfill=run.backfill_id,
        incarnation=incarnation,
        key=run.key,
        attempt=run.attempt,
        claimed=run.started_at and run.started_at.replace(tzinfo=timezone.utc).timestamp(),
    )
    late, undone = [], False
    try:
        return work(config, db, Backfill, Effect, run, incarnation, late)
    except SQLAlchemyError:
        undone = True
        raise
    finally:
        facts = {"late": max(late, default=0), "undone": undone, "connection": connection_of(db)}
        journal.note("end", number=number, pid=os.getpid(), **facts)


def connection_of(db):
    """The number by which the database knows the connection of this thread's session."""
    try:
        driver = db.session.connection().connection.driver_connection
        return driver.thread_id() if hasattr(driver, "thread_id") else driver.info.backend_pid
    except Exception:
        # SQLite's have none, and one that is known to be lost neither.
        return None


def work(config, db, Backfill, Effect, run, incarnation, late):
    nature = nature_of(config, incarnation, run.key)
    amount = amount_of(incarnation, run.key)
    dice = random.Random(f"{incarnation}/{run.key}/{run.attempt}")
    long = config["lease"] * 1.6 if nature == "long" else 0
    # On SQLite, who has flushed keeps everybody from writing: it waits before, and not after.
    alone = config["url"].startswith("sqlite")
    before, after = (long, 0) if alone or dice.random() < 0.5 else (0, long)
    if dice.random() < 0.5:
        # A host that reads first has its snapshot from here on.
        db.session.get(Backfill, run.backfill_id)
    late.append(nap(before + dice.uniform(0, 0.05)))
    for _ in range(config["effects"]):
        effect = Effect(backfill_id=run.backfill_id, run_id=run.id, attempt=run.attempt)
        effect.incarnation, effect.key, effect.amount = incarnation, run.key, amount
        db.session.add(effect)
    db.session.flush()
    if config["commits"]:
        db.session.commit()
    late.append(nap(after + dice.uniform(0, 0.02 if alone else 0.1)))
    if nature == "raises" or (nature == "flaky" and run.attempt == 1):
        raise RuntimeError(f"{run.key} is {nature}")
    if nature == "exits":
        sys.exit(3)
    if nature == "cancels":
        raise asyncio.CancelledError
    if nature == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"amount": amount, "runs": 1}


def nap(seconds):
    """Sleep in short steps; how much longer the longest took, which tells a machine that stood."""
    late, until = 0.0, time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        step, before = min(left, 0.05), time.monotonic()
        time.sleep(step)
        late = max(late, time.monotonic() - before - step)
    return late


def working():
    """For the flask command."""
    # Nobody is left behind if who started this is killed, not even who stands still.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return create_app(json.loads(os.environ["STRESS"]))[0]
