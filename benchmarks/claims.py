"""A claim among 5,000 active backfills that are paused, and among 3.

.ci/with_servers .venv/bin/python benchmarks/claims.py
"""

import gc
import statistics
import time
from datetime import datetime

import sqlalchemy as sa
from runs import create_app
from runs import databases
from runs import LIST
from runs import window

CLAIMS = 30
SIZES = (3, 5_000)


def compare(url):
    """By the number of paused backfills: seconds a claim, a median, and its SQL statements."""
    return {size: measure(url, size) for size in SIZES}


def measure(url, size):
    app, db, BackfillRun = create_app(url, with_runs=True)
    runs = app.blueprints["backfills"].runs
    # The oldest, since others of the same priority come first otherwise; 3 are paused, or 5,000.
    pause(app, db, BackfillRun, size)
    app.test_client().post(LIST, json={"backfill": {**window(1_000), "status": "initial"}})
    taken, statements = [], []
    with app.app_context():
        if db.engine.dialect.name == "postgresql":
            db.session.execute(sa.text("ANALYZE"))
        elif db.engine.dialect.name == "mariadb" or db.engine.dialect.name == "mysql":
            db.session.execute(sa.text("ANALYZE TABLE bench_backfill, bench_run"))
        db.session.commit()
        told = []
        sa.event.listen(db.engine, "before_cursor_execute", lambda *args: told.append(args[2]))
        for number in range(CLAIMS + 2):
            told.clear()
            gc.collect()
            begun = time.perf_counter()
            [run] = runs.claim()
            seconds = time.perf_counter() - begun
            # The first ones begin the backfill, and compile the statements.
            if number >= 2:
                taken.append(seconds)
                statements.append(len(told))
            assert runs.finish(run, "completed")
    with app.app_context():
        db.session.remove()
        db.drop_all()
        db.engine.dispose()
    return {"seconds": statistics.median(taken), "statements": statistics.median(statements)}


def pause(app, db, BackfillRun, count):
    """Backfills with a run each that waits."""
    [Backfill] = [one.class_ for one in db.Model.registry.mappers if one.class_ is not BackfillRun]
    row = {"pipeline_uuid": "p", "status": "running", "settings": {"paused": True}}
    with app.app_context():
        db.session.execute(sa.insert(Backfill), [dict(row) for _ in range(count)])
        keys = db.session.scalars(sa.select(Backfill.id)).all()
        waiting = {"key": "a", "execution_date": datetime(2003, 3, 5)}
        db.session.execute(sa.insert(BackfillRun), [{**waiting, "backfill_id": k} for k in keys])
        db.session.commit()


def tell(found):
    cells = " | ".join(f"{size:,} paused: ms | statements" for size in SIZES)
    print(f"\n| a claim | {cells} |\n|---|" + "---|---|" * len(SIZES))
    for database, by_size in found.items():
        cells = [f"{one['seconds'] * 1e3:.1f} | {one['statements']:g}" for one in by_size.values()]
        print(f"| {database} |", " | ".join(cells), "|")


if __name__ == "__main__":
    with databases() as urls:
        tell({name: compare(url_for("claims")) for name, url_for in urls.items()})
