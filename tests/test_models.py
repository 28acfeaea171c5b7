"""Which models a host may hand over: what is refused when they are registered, and what works."""

import enum
import re
import typing as t
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
import sqlalchemy as sa
from conftest import about_sql
from conftest import few
from conftest import Host
from conftest import LIST
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import declared_attr
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column
from sqlalchemy.orm import MappedAsDataclass
from sqlalchemy.orm import synonym
from sqlalchemy.orm import validates

from flask_backfills import allow_anyone
from flask_backfills import BackfillBlueprint
from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import BackfillSchema
from flask_backfills.console import ConsoleBlueprint

pytestmark = about_sql

START = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-02"}
START |= {"interval_type": "day", "interval_units": 1, "status": "initial"}


class Color(enum.Enum):
    red = "red"


NEEDED = [("backfill_id", "key"), ("backfill_id", "status", "execution_date", "id")]
NEEDED += [("backfill_id", "heartbeat_at")]


def serve(host, model, **options):
    """Serve without a row, since a model of these may not be made by its columns."""
    host.register(model, **options)
    with host.app.app_context():
        host.db.create_all()
    host.open()


def indexed(table):
    """The columns of what finds rows in a table, or tells them apart."""
    kinds = sa.UniqueConstraint, sa.Index
    found = [one for one in [*table.constraints, *table.indexes] if isinstance(one, kinds)]
    return sorted(tuple(column.name for column in one.columns) for one in found)


def work_through(host, url=LIST, **sent):
    """Create, start, edit, claim, finish, work, try again and delete; gives what was shown."""
    created = host.post({"name": "a", **sent}, url)
    assert created.status_code == 201, created.text
    at = f"{url}/{created.json['backfill']['id']}"
    assert host.put(START, at).status_code == 200
    assert host.put({"end_datetime": "2023-03-04"}, at).json["metadata"]["plan"]["add"] == 2
    [run] = host.claim()
    assert host.end(run)
    done = []
    host.blueprint.runner(lambda run: done.append(run.key) or {"rows": 1})
    host.work()
    assert len(done) == 3 and host.statuses(at) == {"completed": 4}
    shown = host.get(at)
    assert (shown["status"], shown["metrics"], shown["name"]) == ("completed", {"rows": 3}, "a")
    assert {row["backfill_id"] for row in host.rows(at)} == {shown["id"]}
    again = {"status": "initial", "settings": {"reprocess": "all"}}
    assert host.put(again, at).status_code == 200
    host.claim()
    assert host.recover() == 1
    assert host.put({"status": "cancelled"}, at).status_code == 200
    assert host.client.delete(at).status_code == 200
    return shown


# What runs need of their table


def plain(db):
    class Run(BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"

    return Run


def with_arguments(db):
    class Run(BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"
        __table_args__ = (sa.CheckConstraint("attempt > 0"), {"comment": "runs"})

    return Run


def with_options_alone(db):
    class Run(BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"
        __table_args__ = {"comment": "runs"}

    return Run


def of_an_abstract_base(db):
    class Base(BackfillRunMixin, db.Model):
        __abstract__ = True
        __table_args__ = (sa.CheckConstraint("attempt > 0"),)

    class Run(Base):
        __tablename__ = "backfill_run"

    return Run


def of_a_mixin_with_arguments(db):
    class Checked:
        @declared_attr.directive
        def __table_args__(cls):
            return (sa.CheckConstraint("attempt > 0"),)

    class Run(Checked, BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"

    return Run


def of_a_base_that_has_the_name(db):
    class Runs(BackfillRunMixin):
        @declared_attr.directive
        def __tablename__(cls):
            return "backfill_run"

    class Run(Runs, db.Model):
        __table_args__ = (sa.CheckConstraint("attempt > 0"),)

    return Run


def of_renamed_columns(db):
    class Run(BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"
        __table_args__ = (sa.CheckConstraint("attempt > 0"),)
        number: Mapped[int] = mapped_column("id", primary_key=True)
        id = synonym("number")
        backfill_id: Mapped[int] = mapped_column("of", sa.Integer, key="whose")

    return Run


def with_its_own(db):
    class Run(BackfillRunMixin, db.Model):
        __tablename__ = "backfill_run"
        __table_args__ = (
            sa.Index("one_of_each", "key", "backfill_id", unique=True),
            sa.Index("soon", "backfill_id", "status", "execution_date", "id", "worker"),
            sa.Index("busy", "backfill_id", "heartbeat_at"),
        )

    return Run


def of_a_table(db):
    class Base(DeclarativeBase):
        pass

    class Other(BackfillRunMixin, Base):
        __tablename__ = "other"

    columns = [column._copy() for column in Other.__table__.columns]
    table = sa.Table("backfill_run", db.metadata, *columns)

    class Run(BackfillRunMixin, db.Model):
        __table__ = table

    return Run


KINDS = [plain, with_arguments, with_options_alone, of_an_abstract_base]
KINDS += [of_a_mixin_with_arguments, of_a_base_that_has_the_name, of_a_table]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("make", KINDS)
def test_a_table_of_runs_has_its_indexes_whatever_arguments_a_host_gives_it(bare, make, caplog):
    model = make(bare.db)
    assert indexed(model.__table__) == sorted(NEEDED)
    names = {index.name for index in model.__table__.indexes}
    assert names == {"ix_backfill_run_next", "ix_backfill_run_held"}
    serve(bare, bare.mixin_model(), run_model=model)
    assert not caplog.messages
    assert bare.post(START).status_code == 201


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_a_host_has_indexed_itself_is_not_indexed_again(bare):
    table = with_its_own(bare.db).__table__
    assert {index.name for index in table.indexes} == {"one_of_each", "soon", "busy"}
    assert not [one for one in table.constraints if isinstance(one, sa.UniqueConstraint)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_only_looks_like_an_index_of_runs_does_not_count(bare):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        __table_args__ = (
            sa.Index("some", "backfill_id", "key", unique=True, sqlite_where=sa.text("attempt")),
            sa.Index("lower", "backfill_id", sa.func.lower("key"), unique=True),
            sa.Index("late", sa.desc("backfill_id"), "heartbeat_at"),
            sa.UniqueConstraint("backfill_id", "key", "attempt"),
        )

    found = indexed(Run.__table__)
    assert [found.count(needed) for needed in NEEDED] == [2, 1, 1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_columns_of_other_names_are_indexed(bare):
    table = of_renamed_columns(bare.db).__table__
    assert ("of", "key") in indexed(table) and ("of", "heartbeat_at") in indexed(table)


def written_by_hand(db, *more):
    class Run(db.Model):
        __tablename__ = "backfill_run"
        __table_args__ = more
        id = sa.Column(sa.Integer, primary_key=True)
        backfill_id = sa.Column(sa.Integer)
        key = sa.Column(sa.String(80))
        status = sa.Column(sa.String(20))
        execution_date = sa.Column(sa.DateTime)
        heartbeat_at = sa.Column(sa.DateTime)

    return Run


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_table_of_a_hosts_own_without_indexes_is_told_of_in_the_log(bare, caplog):
    serve(bare, bare.mixin_model(), run_model=written_by_hand(bare.db))
    told = "\n".join(caplog.messages)
    for line in (
        "UniqueConstraint('backfill_id', 'key')",
        "Index('ix_backfill_run_next', 'backfill_id', 'status', 'execution_date', 'id')",
        "Index('ix_backfill_run_held', 'backfill_id', 'heartbeat_at')",
    ):
        assert f"The table backfill_run of Run has no {line}" in told
    assert len(caplog.messages) == 3


def test_two_starts_at_once_make_each_run_once_without_a_constraint(bare):
    serve(bare, bare.mixin_model(), run_model=written_by_hand(bare.db))
    at = f"{LIST}/{bare.post({}).json['backfill']['id']}"

    def put(_):
        return bare.app.test_client().put(at, json={"backfill": START}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(put, range(4))) <= {200, 409}
    assert len(bare.rows(at)) == 2


# Classes that share or join tables


def test_runs_may_share_their_table_with_other_classes(bare):
    db = bare.db

    class Job(db.Model):
        __tablename__ = "job"
        id = sa.Column(sa.Integer, primary_key=True)
        kind = sa.Column(sa.String(20), nullable=False)
        status = sa.Column(sa.String(20))
        backfill_id = sa.Column(sa.Integer)
        heartbeat_at = sa.Column(sa.DateTime)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "job"}

    class Run(Job):
        key = sa.Column(sa.String(80))
        execution_date = sa.Column(sa.DateTime)
        metrics = sa.Column(sa.JSON(none_as_null=True))
        worker = sa.Column(sa.String(80))
        attempt = sa.Column(sa.Integer)
        __mapper_args__ = {"polymorphic_identity": "run"}

    class Slow(Run):
        __mapper_args__ = {"polymorphic_identity": "slow"}

    class Mail(Job):
        __mapper_args__ = {"polymorphic_identity": "mail"}

    serve(bare, bare.mixin_model(), run_model=Run)
    long_ago = datetime(2020, 1, 1)
    with bare.app.app_context():
        mails = [
            Mail(backfill_id=backfill_id, status=status, heartbeat_at=beat)
            for backfill_id in (1, 2)
            for status in ("initial", "running", "completed", "failed")
            for beat in (None, long_ago)
        ]
        db.session.add_all(mails)
        db.session.commit()
    work_through(bare)
    at = f"{LIST}/{bare.post(START).json['backfill']['id']}"
    with bare.app.app_context():
        found = db.session.execute(sa.select(Job.kind, sa.func.count()).group_by(Job.kind))
        assert dict(found.all()) == {"mail": 16, "run": 2}
        waiting = db.session.scalars(sa.select(Mail.heartbeat_at).where(Mail.status == "initial"))
        assert set(waiting) == {None, long_ago}
        db.session.execute(sa.update(Run.__table__).values(kind="slow").where(Run.attempt == 1))
        db.session.commit()
    assert len(bare.rows(at)) == 2 and len(bare.claim(limit=9)) == 2


def test_the_class_that_others_derive_from_may_be_that_of_runs(bare):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        kind = sa.Column(sa.String(20), nullable=False)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "run"}

    class Other(Run):
        __mapper_args__ = {"polymorphic_identity": "other"}

    serve(bare, bare.mixin_model(), run_model=Run)
    work_through(bare)


@pytest.mark.parametrize("joined", [False, True])
def test_backfills_may_share_or_join_the_table_of_another_class(bare, joined):
    db = bare.db

    class Request(db.Model):
        __tablename__ = "request"
        id = sa.Column(sa.Integer, primary_key=True)
        kind = sa.Column(sa.String(20), nullable=False)
        pipeline_uuid = sa.Column(sa.String(80), nullable=False)
        name = sa.Column(sa.String(80))
        created_at = sa.Column(sa.DateTime)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "request"}

    columns = {name: sa.Column(sa.JSON(none_as_null=True)) for name in ("metrics", "settings")}
    columns |= {name: sa.Column(sa.DateTime) for name in ("start_datetime", "end_datetime")}
    columns |= {name: sa.Column(sa.String(20)) for name in ("interval_type", "status")}
    columns |= {"interval_units": sa.Column(sa.Integer), "updated_at": sa.Column(sa.DateTime)}
    if joined:
        columns["__tablename__"] = "backfill"
        columns["id"] = sa.Column(sa.ForeignKey("request.id"), primary_key=True)
    columns["__mapper_args__"] = {"polymorphic_identity": "backfill"}
    backfill = type("Backfill", (Request,), columns)

    serve(bare, backfill, run_model=bare.run_model())
    with bare.app.app_context():
        db.session.add(Request(pipeline_uuid="arwen_starlight"))
        db.session.commit()
    work_through(bare)
    bare.post({"name": "b"})
    page = bare.read(LIST)
    assert [one["name"] for one in page["backfills"]] == ["b"]
    assert page["metadata"]["count"] == 1
    assert bare.client.get(f"{LIST}/1").status_code == 404


# What is refused


def refused(host, model=None, run_model=None, **options):
    """The message of the refusal."""
    parts = model or host.mixin_model(), host.db.session
    blueprint = BackfillBlueprint(*parts, authorize=allow_anyone, run_model=run_model, **options)
    with pytest.raises(TypeError) as caught:
        host.app.register_blueprint(blueprint)
    return str(caught.value)


sqlite_alone = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def run_model(db, **more):
    return type("Run", (BackfillRunMixin, db.Model), {"__tablename__": "backfill_run", **more})


@sqlite_alone
@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"tenant": sa.Column(sa.Integer, nullable=False)}, "column tenant of Run .* default="),
        ({"id": sa.Column(sa.String(36), primary_key=True)}, "column id of Run"),
        ({"error": sa.Column(sa.Text, nullable=False, default="")}, "Run.error must be nullable"),
        ({"variables": sa.Column(sa.JSON, nullable=False, default={})}, "Run.variables must be nu"),
        ({"attempt": sa.Column(sa.Integer, sa.Computed("1"))}, "Run.attempt must not be computed"),
        (
            {"backfill_id": sa.Column(sa.Uuid)},
            r"Run.backfill_id must have .* Backfill.id.* Integer",
        ),
        ({"pipeline_uuid": sa.Column(sa.Integer)}, "Run.pipeline_uuid must have .*String"),
        (
            {"id": sa.Column(sa.DateTime, primary_key=True, default=datetime.now)},
            "primary key of Run must be an integer, a UUID or text, not DateTime",
        ),
        (
            {"v": sa.Column(sa.Integer), "__mapper_args__": {"version_id_col": "v"}},
            "Run must not have a version_id_col",
        ),
    ],
)
def test_a_run_model_that_can_not_work_is_refused(bare, more, told):
    more = {name: one._copy() if hasattr(one, "_copy") else one for name, one in more.items()}
    if "v" in more:
        more["__mapper_args__"] = {"version_id_col": more["v"]}
    assert re.search(told, refused(bare, run_model=run_model(bare.db, **more)))


@sqlite_alone
@pytest.mark.parametrize(
    "more",
    [
        {"nullable": True},
        {"default": 1},
        {"default": lambda: 1},
        {"server_default": "1"},
        {"server_default": sa.FetchedValue()},
    ],
)
def test_a_column_that_something_fills_is_no_reason_to_refuse(bare, more):
    model = run_model(bare.db, tenant=sa.Column(sa.Integer, **{"nullable": False, **more}))
    serve(bare, bare.mixin_model(), run_model=model)


@sqlite_alone
def test_runs_that_are_joined_from_two_tables_are_refused(bare):
    db = bare.db

    class Job(db.Model):
        id = sa.Column(sa.Integer, primary_key=True)

    class Run(BackfillRunMixin, Job):
        __tablename__ = "backfill_run"
        id = sa.Column(sa.ForeignKey("job.id"), primary_key=True)

    told = refused(bare, run_model=Run)
    assert "rows of Run are not in one table" in told and "in one table" in told


@sqlite_alone
def test_runs_of_a_class_that_nothing_tells_from_others_are_refused(bare):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"

    class Child(Run):
        pass

    class Kinds(BackfillRunMixin, bare.db.Model):
        __tablename__ = "kinds"
        __mapper_args__ = {"polymorphic_on": sa.case((sa.text("attempt > 1"), "a"), else_="b")}

    model = bare.mixin_model()
    assert "polymorphic_on of Kinds must be a column" in refused(bare, model, run_model=Kinds)
    # Without polymorphic_on, a class is another name of the same rows.
    serve(bare, model, run_model=Child)
    work_through(bare)


@sqlite_alone
@pytest.mark.parametrize("kind", [sa.Float, sa.Boolean, sa.DateTime, sa.Enum(Color)])
def test_a_pipeline_that_a_path_can_not_name_is_refused(bare, kind):
    class Backfill(BackfillMixin, bare.db.Model):
        pipeline_uuid = sa.Column(kind)

    assert "pipeline_uuid of Backfill must be an integer, a UUID or text" in refused(bare, Backfill)


# Models that are made in their own way


def test_a_model_may_require_arguments(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        slug = sa.Column(sa.String(80), nullable=False)

        def __init__(self, pipeline_uuid, name, *, status, block_uuid, **more):
            super().__init__(pipeline_uuid=pipeline_uuid, name=name, **more)
            self.slug = f"{pipeline_uuid}-{name.strip()}"
            self.status = status
            self.block_uuid = block_uuid or "made"

        @validates("name")
        def check(self, key, name):
            if name == "bad":
                raise ValueError("not this one")
            return name

    serve(bare, Backfill, run_model=bare.run_model())
    bare.blueprint.generator("made")(lambda backfill: [{"key": "a"}, {"key": "b"}])
    told = bare.post({"name": "a", "status": "initial", "block_uuid": "made"})
    assert told.status_code == 201, told.text
    shown = told.json["backfill"]
    assert (shown["name"], shown["status"], shown["block_uuid"]) == ("a", "initial", "made")
    assert told.json["metadata"]["plan"]["add"] == 2
    with bare.app.app_context():
        assert bare.db.session.scalars(sa.select(Backfill.slug)).all() == ["arwen_starlight-a"]
    assert bare.post({"name": "a"}).json["backfill"]["block_uuid"] == "made"
    assert bare.post({"name": "bad"}).json["error"]["errors"]["name"] == ["not this one"]
    sent = {"name": 3, "status": "later", "colour": "red", "settings": {"paused": 3}}
    assert bare.post(sent).json["error"]["errors"].keys() == sent.keys()
    assert bare.read(LIST)["metadata"]["count"] == 2


def test_a_pipeline_that_a_model_refuses_is_told(host, listen):
    def refuse(backfill, value, *rest):
        raise ValueError("not that pipeline")

    listen(host.model.pipeline_uuid, "set", refuse)
    told = host.post({"name": "a"})
    assert told.json["error"]["errors"] == {"pipeline_uuid": ["not that pipeline"]}


@sqlite_alone
def test_an_argument_that_no_request_gives_is_refused(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        owner = sa.Column(sa.String(80))

        def __init__(self, name, owner):
            self.name, self.owner = name, owner

    class Schema(BackfillSchema):
        owner = fields.String()

    assert "Backfill() requires owner" in refused(bare, Backfill)
    serve(bare, Backfill, schema=Schema)
    assert bare.post({"owner": "me"}).json["backfill"]["owner"] == "me"


@pytest.mark.parametrize("mixin_first", [True, False])
def test_models_may_be_dataclasses(database_url, mixin_first):
    class Base(DeclarativeBase):
        pass

    host = Host(database_url, SQLAlchemy(model_class=Base))
    db = host.db

    def bases(mixin):
        plain = MappedAsDataclass, db.Model
        return (mixin, *plain) if mixin_first else (*plain, mixin)

    class Backfill(*bases(BackfillMixin)):
        __tablename__ = "backfill"
        name: Mapped[str] = mapped_column(sa.String(80))
        team: Mapped[t.Optional[str]] = mapped_column(sa.String(80), default=None)
        notes: Mapped[list["Note"]] = db.relationship(default_factory=list)

    class Note(MappedAsDataclass, db.Model):
        __tablename__ = "note"
        id: Mapped[int] = mapped_column(init=False, primary_key=True)
        backfill_id: Mapped[int] = mapped_column(sa.ForeignKey("backfill.id"))

    class Run(*bases(BackfillRunMixin)):
        __tablename__ = "backfill_run"
        __table_args__ = (sa.CheckConstraint("attempt > 0"),)
        backfill_id: Mapped[int] = mapped_column(sa.ForeignKey("backfill.id"))
        team: Mapped[str] = mapped_column(sa.String(80), insert_default="ocean", init=False)

    serve(host, Backfill, run_model=Run)
    try:
        assert set(NEEDED) <= set(indexed(Run.__table__))
        assert not Backfill.__table__.c.pipeline_uuid.nullable
        assert host.post({}).json["error"]["errors"].keys() == {"name"}
        work_through(host)
        assert Backfill(name="a").name == "a"
    finally:
        host.close()


@pytest.mark.filterwarnings("ignore:.*has no Python-side:sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("key", [sa.Integer, sa.String(36)])
def test_a_column_that_only_the_app_can_fill_is_filled_or_told_of(bare, key, caplog):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        id = sa.Column(key, primary_key=True)
        owner = sa.Column(sa.String(80), nullable=False)

    serve(bare, Backfill)
    assert "The column owner of Backfill must not be null" in caplog.text
    told = bare.post({"name": "a"})
    assert (told.status_code, told.json["error"]["errors"]) == (409, {})
    assert "log" in told.json["error"]["message"] and "owner" not in told.text
    assert "Backfill" in caplog.messages[-1] and bare.read(LIST)["metadata"]["count"] == 0

    @sa.event.listens_for(Backfill, "before_insert")
    def fill(mapper, connection, backfill):
        backfill.owner = "me"
        if not isinstance(key, type):
            backfill.id = uuid.uuid4().hex

    assert bare.post({"name": "a"}).status_code == 201


@sqlite_alone
def test_a_column_that_a_listener_fills_is_not_told_of(bare, caplog):
    class Backfill(BackfillMixin, bare.db.Model):
        owner = sa.Column(sa.String(80), nullable=False)

    sa.event.listen(Backfill, "before_insert", lambda mapper, connection, row: None)
    serve(bare, Backfill)
    assert not caplog.messages


@sqlite_alone
@pytest.mark.parametrize("ondelete", [None, "CASCADE", "SET NULL"])
def test_a_row_of_the_hosts_that_keeps_a_run_is_told_of(bare, ondelete, caplog):
    run_model = bare.run_model()
    refers = sa.ForeignKey("backfill_run.id", ondelete=ondelete)
    sa.Table("sales", bare.db.metadata, sa.Column("run", sa.Integer, refers))
    # What that refers to may come later.
    sa.Table("later", bare.db.metadata, sa.Column("run", sa.Integer, sa.ForeignKey("not_yet.id")))
    bare.register(run_model=run_model)
    assert ["sales.run refers to" in one for one in caplog.messages] == [True] * (not ondelete)


@sqlite_alone
def test_what_writes_of_runs_skip_is_told_of(bare, caplog):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"

        @validates("status")
        def check(self, key, status):
            return status

    sa.event.listen(Run, "before_insert", lambda mapper, connection, row: None)
    serve(bare, bare.mixin_model(), run_model=Run)
    [told] = caplog.messages
    assert "Run has @validates of status, before_insert listeners" in told


@sqlite_alone
@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        (["interval_type", "interval_units"], "only backfills with a generator can be started"),
        (["end_datetime", "block_uuid"], "none can be started"),
        (["block_uuid"], None),
    ],
)
@pytest.mark.parametrize("generates", [False, True])
def test_a_model_that_has_no_whole_window_is_told_of(bare, left_out, told, generates, caplog):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        vars().update(dict.fromkeys(left_out))

    blueprint = BackfillBlueprint(
        Backfill, bare.db.session, authorize=allow_anyone, run_model=bare.run_model()
    )
    if generates:
        # Whoever has one knows.
        blueprint.generator("parts")(lambda backfill: [{}])
    bare.app.register_blueprint(blueprint)
    lacks = ", ".join(name for name in left_out if name != "block_uuid")
    messages = [f"Backfill has no {lacks}, which a window needs: {told}"] if told else []
    assert [one.partition(". ")[0] for one in caplog.messages] == messages * (not generates)


def test_a_model_may_refuse_to_be_made(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"

        def __init__(self, **given):
            raise ValueError("not today")

    serve(bare, Backfill)
    assert bare.post({"name": "a"}).json["error"]["errors"] == {"backfill": ["not today"]}


def test_a_model_may_count_its_versions(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        version = sa.Column(sa.Integer, nullable=False)
        __mapper_args__ = {"version_id_col": version}

    serve(bare, Backfill, run_model=bare.run_model())
    work_through(bare)


# Pipelines and keys of other types than text


class Code(sa.types.TypeDecorator):
    """As a number in the database; ``c7`` for who reads it."""

    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else int(value.removeprefix("c"))

    def process_result_value(self, value, dialect):
        return None if value is None else f"c{value}"


U = uuid.UUID("abcdef00-0000-4000-8000-000000000007")

#: A type, a name, other ways to spell it, and what the type can't hold or no row has.
NAMES = {
    "integer": (sa.Integer, "7", ["007", " 7", "+7", "7_"], ["abc", "8", "7.0", str(2**31)]),
    "digits": (sa.Integer, "7", ["\u0667"], ["9" * 4000, "\u00b2", "0x7", "%00"]),
    "big": (sa.BigInteger, str(2**40), ["0" + str(2**40)], ["abc", "7", str(2**63)]),
    "uuid": (sa.Uuid, str(U), [U.hex, str(U).upper(), f"{{{U}}}"], ["abc", str(U)[:-1] + "8"]),
    "uuid as text": (sa.Uuid(as_uuid=False), str(U), [U.hex, str(U).upper()], ["abc"]),
    "words": (sa.Enum("a", "b", name="words"), "a", [], ["abc", "A", "c", "b"]),
    "text": (sa.String(60), "a", [], ["A", "a ", "x" * 99, "%00"]),
    "own": (Code, "c7", ["c07"], ["abc", "c8", "x"]),
}


@pytest.fixture(params=few(NAMES))
def named(bare, request):
    """A host whose pipelines and keys are of a type, a name of each, and what is none."""
    kind, name, spelled, others = NAMES[request.param]

    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        id = sa.Column(kind, primary_key=True, autoincrement=False, default=lambda: as_kind(name))
        pipeline_uuid = sa.Column(kind)

    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        backfill_id = sa.Column(kind)

    def as_kind(name):
        kinds = {"integer": int, "digits": int, "big": int, "uuid": uuid.UUID}
        return kinds.get(request.param, str)(name)

    serve(bare, Backfill, run_model=Run, mage_routes=True)
    bare.app.secret_key = "secret"
    bare.app.register_blueprint(ConsoleBlueprint(bare.blueprint))
    return bare, name, spelled, others


@pytest.mark.parametrize("named", few(["integer", "uuid", "uuid as text", "own"]), indirect=True)
def test_pipelines_and_keys_of_other_types_are_served(named):
    host, name, *_ = named
    url = f"/api/pipelines/{name}/backfills"
    created = host.post({"name": "a", **START}, url)
    assert created.status_code == 201, created.text
    at = created.location
    shown = host.get(at)
    assert (str(shown["id"]), str(shown["pipeline_uuid"])) == (name, name)
    assert [row["pipeline_uuid"] for row in host.rows(at)] == [name] * 2
    assert host.put({"pipeline_uuid": shown["pipeline_uuid"], "name": "b"}, at).status_code == 200
    assert host.put({"end_datetime": "2023-03-03"}, f"/api/backfills/{name}").status_code == 200
    for path in (url, f"/api/backfills?pipeline_uuid={name}"):
        assert host.read(path)["metadata"]["count"] == 1
    cli = host.app.test_cli_runner()
    for command in ("list --pipeline", "show", "pause", "resume"):
        result = cli.invoke(args=["backfills", *command.split(), name])
        assert result.exit_code == 0 and "b" in result.output, result.output
    for path in ("/backfills/", f"/backfills/?pipeline={name}", f"/backfills/{name}"):
        page = host.client.get(path)
        assert page.status_code == 200 and ">b<" in page.text, path
    for run in host.claim(limit=9):
        assert host.end(run)
    runs = host.read(f"/api/pipeline_runs?backfill_id={name}")["pipeline_runs"]
    assert len(runs) == 3 and {one["status"] for one in runs} == {"completed"}
    sent = {"backfill_id": shown["id"], "execution_date": "2023-03-02"}
    schedule = f"/api/pipeline_schedules/{name}/pipeline_runs"
    assert host.client.post(schedule, json={"pipeline_run": sent}).status_code == 200
    cancel = {"pipeline_run": {"status": "cancelled"}}
    assert host.client.put(f"/api/pipeline_runs/{runs[0]['id']}", json=cancel).status_code == 409
    assert host.put({"status": "cancelled"}, at).status_code == 200
    assert host.client.delete(at).status_code == 200


def test_what_no_pipeline_or_key_can_be_is_a_404(named):
    host, name, _, others = named
    of = "/api/pipelines"
    assert host.post({"name": "a", **START}, f"{of}/{name}/backfills").status_code == 201
    ask = host.client.open
    for other in others:
        answers = {}
        for path in (f"{of}/{other}/backfills/{name}", f"{of}/{name}/backfills/{other}"):
            for method in ("GET", "PUT", "PATCH", "DELETE"):
                body = {"backfill": {"name": "c"}} if method in ("PUT", "PATCH") else None
                answers[method, path] = ask(path, method=method, json=body)
            answers["GET", f"{path}/runs"] = ask(f"{path}/runs")
        answers["GET", "flat"] = ask(f"/api/backfills/{other}")
        answers["GET", "console"] = ask(f"/backfills/{other}")
        answers["GET", "mage"] = ask("/api/pipeline_runs", query_string={"backfill_id": other})
        assert {key: one.status_code for key, one in answers.items()} == dict.fromkeys(answers, 404)
        body = {"pipeline_run": {"backfill_id": other, "execution_date": "2023-03-02"}}
        path = f"/api/pipeline_schedules/{other}/pipeline_runs"
        assert ask(path, method="POST", json=body).status_code == 404
        path = f"/api/pipeline_schedules/{name}/pipeline_runs"
        assert ask(path, method="POST", json=body).status_code in (404, 422)
        body = {"pipeline_run": {"status": "cancelled"}}
        if not other.isdecimal():
            path = f"/api/pipeline_runs/{other}"
            assert ask(path, method="PUT", json=body).status_code == 404
        result = host.app.test_cli_runner().invoke(args=["backfills", "show", "--", other])
        assert result.exit_code == 1 and "There is no backfill" in result.output
        told = host.put({"pipeline_uuid": other}, f"{of}/{name}/backfills/{name}")
        assert told.json["error"]["errors"].keys() == {"pipeline_uuid"}
    assert host.get(f"{of}/{name}/backfills/{name}")["name"] == "a"


def test_another_spelling_is_not_the_pipeline_and_what_it_can_not_be_has_no_backfills(named):
    """Whoever may see one may not see the other: ``authorize`` gets what stands in the path."""
    host, name, spelled, others = named
    of = "/api/pipelines"
    assert host.post({"name": "a", **START}, f"{of}/{name}/backfills").status_code == 201
    for other in [*spelled, *others]:
        for method in ("GET", "PUT", "DELETE"):
            body = {"backfill": {"name": "c"}} if method == "PUT" else None
            path = f"{of}/{other}/backfills/{name}"
            assert host.client.open(path, method=method, json=body).status_code == 404, path
        for path, asked in (
            (f"{of}/{other}/backfills", {}),
            ("/api/backfills", {"pipeline_uuid": other}),
        ):
            page = host.client.get(path, query_string=asked)
            assert (page.status_code, page.json["metadata"]["count"]) == (200, 0), page.text
        args = ["backfills", "list", "--json", "--pipeline", other]
        result = host.app.test_cli_runner().invoke(args=args)
        assert result.exit_code == 0 and '"count": 0' in result.output
        assert host.client.get("/backfills/", query_string={"pipeline": other}).status_code == 200
        told = host.post({"name": "a"}, f"{of}/{other}/backfills")
        if told.status_code == 201:
            # It is another pipeline, and as good as the first.
            assert other in others and told.json["backfill"]["pipeline_uuid"] != name
        else:
            known = told.status_code == 409 or told.json["error"]["errors"].keys()
            assert known == {"pipeline_uuid"} or (known is True and other in others), told.text


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_a_character_that_a_column_does_not_know_is_in_no_pipeline(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        __table_args__ = {"mysql_charset": "latin1"}

    serve(bare, Backfill)
    assert bare.post({"name": "a"}).status_code == 201
    for method in ("GET", "PUT", "DELETE"):
        body = {"backfill": {"name": "c"}} if method == "PUT" else None
        path = "/api/pipelines/\N{SNOWMAN}/backfills/1"
        assert bare.client.open(path, method=method, json=body).status_code == 404
    assert bare.client.get("/api/pipelines/\N{SNOWMAN}/backfills").status_code == 404


@pytest.mark.parametrize(
    ("kind", "value", "other"),
    [
        (sa.Integer, 7, "abc"),
        (sa.Uuid, str(U), "abc"),
        (sa.Enum("a", "b", name="blocks"), "b", "c"),
        (Code, "c7", 7),
    ],
)
def test_a_block_may_be_of_another_type(bare, kind, value, other):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        block_uuid = sa.Column(kind)

    serve(bare, Backfill, run_model=bare.run_model())
    bare.blueprint.generator(str(value))(lambda backfill: [{"key": "a"}])
    created = bare.post({"status": "initial", "block_uuid": value})
    assert created.status_code == 201, created.text
    assert created.json["backfill"]["block_uuid"] == value
    assert [row["key"] for row in bare.rows(created.location)] == ["a"]
    told = bare.put({"block_uuid": other}, created.location)
    assert told.json["error"]["errors"].keys() == {"block_uuid"}, told.text


@pytest.mark.parametrize("options", [{}, {"eager_defaults": True}])
def test_columns_that_the_database_computes_can_be_read_of_a_claimed_run(bare, options):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        twice = sa.Column(sa.Integer, sa.Computed("attempt * 2", persisted=True))
        stamped = sa.Column(sa.DateTime, server_default=sa.func.now(), onupdate=sa.func.now())
        __mapper_args__ = options

    serve(bare, bare.mixin_model(), run_model=Run)
    at = bare.post(START).location
    read = []
    bare.blueprint.runner(lambda run: read.append((run.twice, run.stamped is not None)))
    [run] = bare.claim()
    assert (run.twice, run.stamped is not None) == (2, True)
    assert bare.end(run)
    bare.work()
    assert read == [(2, True)] and bare.get(at)["status"] == "completed"


def test_a_value_that_a_type_of_a_hosts_own_does_not_take_is_a_422(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        block_uuid = sa.Column(Code)

    serve(bare, Backfill)
    told = bare.post({"block_uuid": "block"})
    assert told.status_code == 422 and "block" not in told.text
    at = bare.post({"block_uuid": "c7"}).location
    assert bare.put({"block_uuid": "block"}, at).status_code == 422
    assert bare.get(at)["block_uuid"] == "c7"
