from __future__ import annotations

import importlib.util
import typing as t
from datetime import datetime
from pathlib import Path

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin

URL = "/api/pipelines/arwen_starlight/backfills/6"
MOMENT = datetime(2023, 7, 18, 23, 30, 26)


class Host:
    """A host app with one backfill in a SQLite file."""

    def __init__(self, path: Path) -> None:
        self.app = Flask("host")
        self.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{path}/host.db"
        self.db = SQLAlchemy(self.app)
        self.statements: list[str] = []

    def mixin_model(self) -> t.Any:
        class Backfill(BackfillMixin, self.db.Model):  # type: ignore[name-defined]
            __tablename__ = "backfill"

        return Backfill

    def serve(self, model: t.Any = None, *, seed: dict | None = None, **options: t.Any) -> None:
        self.model = model or self.mixin_model()
        options.setdefault("authorize", allow_anyone)
        self.app.register_blueprint(BackfillBlueprint(self.model, self.db.session, **options))
        if seed is None:
            seed = {"id": 6, "pipeline_uuid": "arwen_starlight", "name": "old_name"}
            seed |= {"created_at": MOMENT, "updated_at": MOMENT}
        with self.app.app_context():
            self.db.create_all()
            self.db.session.add(self.model(**seed))
            self.db.session.commit()
            event.listen(self.db.engine, "before_cursor_execute", self._count)
        self.client = self.app.test_client()

    def _count(self, conn, cursor, statement, *rest: t.Any) -> None:
        self.statements.append(statement)

    def put(self, sent: dict, url: str = URL, **options: t.Any) -> t.Any:
        return self.client.put(url, json={"backfill": sent}, **options)

    def get(self, url: str = URL) -> dict:
        response = self.client.get(url)
        assert response.status_code == 200, response.text
        return response.json["backfill"]

    def close(self) -> None:
        with self.app.app_context():
            self.db.session.remove()
            for engine in self.db.engines.values():
                engine.dispose()


@pytest.fixture
def bare(tmp_path):
    host = Host(tmp_path)
    yield host
    host.close()


@pytest.fixture
def host(bare):
    bare.serve()
    return bare


@pytest.fixture
def example():
    """Import an example's module by its path under examples/."""

    def load(path: str) -> t.Any:
        file = Path(__file__).parent.parent / "examples" / path
        spec = importlib.util.spec_from_file_location(file.parent.name, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
