"""A host with a Celery app of its own: celery --app celery_host worker."""

import os
import time

from celery import Celery
from celery import Task
from processes import create_app

from flask_backfills.celery import CeleryDispatcher


def serve(database_url, broker):
    """The Flask app, its Celery app in Flask's way, and the dispatcher between them."""
    app, blueprint = create_app(database_url)
    app.config["BACKFILLS_LEASE"] = float(os.environ.get("LEASE", 5))

    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery("celery_host", task_cls=FlaskTask, broker=broker)
    celery_app.conf.broker_transport_options = {"max_retries": 0}

    @blueprint.runner
    def run(run):
        time.sleep(float(run.variables.get("seconds", 0)))
        return {"runs": 1}

    dispatcher = CeleryDispatcher(celery_app, blueprint)
    celery_app.conf.beat_schedule = {
        "recover": {"task": dispatcher.recover_task.name, "schedule": 1.0}
    }
    return app, celery_app, dispatcher


if "BROKER" in os.environ:
    app, celery_app, dispatcher = serve(os.environ["DATABASE_URL"], os.environ["BROKER"])
