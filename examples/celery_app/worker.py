"""What Celery's commands are pointed at: --app examples.celery_app.worker."""

from .app import create_app

celery_app = create_app().extensions["celery"]
