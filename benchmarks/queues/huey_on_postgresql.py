"""huey_consumer queues.huey_on_postgresql.huey --workers 4"""

import os

from huey import PostgresHuey

from .marks import mark

URL = os.environ["BENCHMARK_POSTGRESQL"].replace("+psycopg", "")
huey = PostgresHuey("queue", dsn=URL)


@huey.task()
def nothing():
    mark()


def fill(count):
    huey.flush()
    for _ in range(count):
        nothing()
    huey.storage.sql("ANALYZE huey_task")
