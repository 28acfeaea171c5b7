"""Notes with Alchemical, in an app that is a class and answers all errors itself."""

import os

from alchemical import Model as BaseModel
from alchemical.flask import Alchemical
from flask import Flask
from flask import jsonify
from sqlalchemy import MetaData
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from werkzeug.exceptions import HTTPException

from flask_backfills import api_key
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin


class Base(BaseModel, DeclarativeBase):
    __abstract__ = True
    metadata = MetaData()
    # Alchemical's is that of all apps in a process.
    __metadatas__ = {None: metadata}


db = Alchemical(model_class=Base)


class Note(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Backfill(BackfillMixin, db.Model):
    pass


class BackfillRun(BackfillRunMixin, db.Model):
    pass


class Notes(Flask):
    """An app that answers every error in its own JSON."""

    def __init__(self):
        super().__init__(__name__)
        self.config["ALCHEMICAL_DATABASE_URL"] = os.environ["DATABASE_URL"]
        self.config["ALCHEMICAL_AUTOCOMMIT"] = True
        self.config["BACKFILLS_API_KEYS"] = "key of the notes"
        self.url_map.strict_slashes = False
        db.init_app(self)
        self.add_url_rule("/", view_func=self.list_notes)
        self.register_error_handler(HTTPException, self.refuse)
        self.register_error_handler(Exception, self.fail)
        backfills = BackfillBlueprint(
            Backfill, lambda: db.session, authorize=api_key(), run_model=BackfillRun
        )
        backfills.runner(self.search)
        self.register_blueprint(backfills)

    def list_notes(self):
        return jsonify(notes=[note.text for note in db.session.scalars(select(Note))])

    def refuse(self, error):
        return {"problem": error.name}, error.code

    def fail(self, error):
        return {"problem": "Something broke"}, 500

    def search(self, run):
        db.session.add(Note(text=f"searched {run.key}"))
        return {"rows": 24}


def create_app():
    app = Notes()
    with app.app_context():
        db.create_all()
    return app
