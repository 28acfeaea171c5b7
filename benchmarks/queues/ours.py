"""One backfill, whose runs do nothing: flask --app queues.ours backfills work --concurrency 4"""

import os

import sqlalchemy as sa
from runs import create_app
from runs import LIST
from runs import window

from .marks import mark

app, db, BackfillRun = create_app(os.environ["BENCHMARK_POSTGRESQL"], with_runs=True, empty=False)


@app.blueprints["backfills"].runner
def nothing(run):
    mark()


def fill(count):
    with app.app_context():
        db.drop_all()
        db.create_all()
    response = app.test_client().post(
        LIST, json={"backfill": {**window(count), "status": "initial"}}
    )
    assert response.status_code == 201, response.text
    with app.app_context():
        db.session.execute(sa.text("ANALYZE bench_run"))
        db.session.commit()
