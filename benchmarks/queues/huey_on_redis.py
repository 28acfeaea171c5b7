"""huey_consumer queues.huey_on_redis.huey --workers 4"""

import os

from huey import RedisHuey

from .marks import mark

huey = RedisHuey("queue", url=os.environ["BENCHMARK_REDIS"])


@huey.task()
def nothing():
    mark()


def fill(count):
    huey.flush()
    for _ in range(count):
        nothing()
