"""celery --app queues.on_celery worker --pool threads --concurrency 4"""

import os

from celery import Celery

from .marks import mark

app = Celery("queue", broker=os.environ["BENCHMARK_REDIS"])
# A message is kept until its task has ended. By default, a worker that dies loses it.
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, task_ignore_result=True)


@app.task
def nothing():
    mark()


def fill(count):
    app.control.purge()
    with app.producer_or_acquire() as producer:
        for _ in range(count):
            nothing.apply_async(producer=producer)
