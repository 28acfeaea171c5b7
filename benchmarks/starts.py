"""Starting 100,000 runs, beside one INSERT ... SELECT of the same rows, and new variables for them.

.ci/with_servers .venv/bin/python benchmarks/starts.py
"""

import gc
import json
import statistics
import subprocess
import sys
import time

import sqlalchemy as sa
from runs import create_app
from runs import databases
from runs import LIST
from runs import timed
from runs import window

RUNS = 100_000
ROUNDS = 5


def measure(url, count):
    app, db, BackfillRun = create_app(url, with_runs=True)
    client = app.test_client()
    # So that what is imported and compiled once is not counted.
    client.post(LIST, json={"backfill": {**window(10), "status": "initial"}})
    sent = {"backfill": {**window(count), "status": "initial", "variables": {"env": "prod"}}}
    start, response = timed(client.post, LIST, json=sent)
    insert = insert_from_select(app, db, BackfillRun, count)
    rows = []

    def note(connection, cursor, statement, *rest):
        if "bench_run" in statement and not statement.startswith("SELECT"):
            rows.append(cursor.rowcount)

    with app.app_context():
        sa.event.listen(db.engine, "after_cursor_execute", note)
    sent = {"backfill": {"variables": {"env": "test"}}}
    variables, _ = timed(client.put, response.headers["Location"], json=sent)
    written = sum(rows)
    with app.app_context():
        db.drop_all()
    return {"start": start, "insert": insert, "variables": variables, "written": written}


def insert_from_select(app, db, BackfillRun, count):
    """The same rows within the database, into an empty table with the same indexes."""

    rows = BackfillRun.__table__
    copy = copy_of(rows, db.metadata)
    names = [column.name for column in rows.columns if column.name != "id"]
    query = sa.select(*[rows.c[name] for name in names]).where(rows.c.backfill_id == 2)
    insert = sa.insert(copy).from_select(names, query.order_by(rows.c.id))
    with app.app_context():
        copy.drop(db.engine, checkfirst=True)
        copy.create(db.engine)
        gc.collect()
        begun = time.perf_counter()
        db.session.execute(insert)
        db.session.commit()
        taken = time.perf_counter() - begun
        assert db.session.scalar(sa.select(sa.func.count()).select_from(copy)) == count
        db.session.remove()
    return taken


def copy_of(table, metadata):
    copy = table.to_metadata(metadata, name="bench_copy")
    for index in copy.indexes:
        index.name = index.name.replace(table.name, copy.name)
    return copy


def compare(url_for):
    """The medians of several processes."""
    told = []
    for number in range(ROUNDS):
        command = [sys.executable, __file__, url_for(f"starts{number}"), str(RUNS)]
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        told.append(json.loads(out))
    found = {key: statistics.median(one[key] for one in told) for key in told[0]}
    ratio = statistics.median(one["start"] / one["insert"] for one in told)
    return {**found, "ratio": ratio}


def tell(found):
    print(f"\n| {RUNS:,} runs | start | INSERT ... SELECT | start / INSERT", end="")
    print(" | PUT of new variables | rows of runs written by it |\n|---|---|---|---|---|---|")
    for database, one in found.items():
        print(f"| {database} | {one['start']:.2f} s | {one['insert']:.2f} s", end="")
        print(f" | {one['ratio']:.1f} | {one['variables'] * 1e3:.1f} ms | {one['written']:g} |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
    else:
        with databases() as urls:
            tell({name: compare(url_for) for name, url_for in urls.items()})
