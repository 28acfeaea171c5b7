"""procrastinate --app queues.on_procrastinate.app worker --concurrency 4"""

import os

import procrastinate
import psycopg

from .marks import mark

URL = os.environ["BENCHMARK_POSTGRESQL"].replace("+psycopg", "")
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL))


@app.task
def nothing():
    mark()


def fill(count):
    with psycopg.connect(URL, autocommit=True) as connection:
        # It has no command that drops what it has in a database.
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    with app.replace_connector(procrastinate.SyncPsycopgConnector(conninfo=URL)) as sync:
        with sync.open():
            sync.schema_manager.apply_schema()
            nothing.batch_defer(*[{}] * count)
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute("ANALYZE procrastinate_jobs")
