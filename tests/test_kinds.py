"""Which columns a model may have for what is read into them, and which are refused."""

import uuid
from datetime import datetime

import pytest
import sqlalchemy as sa
from conftest import about_sql
from conftest import sqlite_alone
from marshmallow import fields
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import synonym

from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills import BackfillSchema
from flask_backfills.tables.fields import Text

pytestmark = about_sql

#: Columns that can't hold what is read into them, by attribute, and what they must be.
WRONG = [
    *(("start_datetime", kind, "a DateTime") for kind in (sa.Date, sa.String(30), sa.Integer)),
    ("end_datetime", sa.Time, "a DateTime"),
    ("end_datetime", sa.JSON, "a DateTime"),
    ("completed_at", sa.Float, "a DateTime"),
    *(("interval_units", kind, "an Integer") for kind in (sa.String(5), sa.Boolean, sa.Interval)),
    *(("interval_type", kind, "a String or an Enum") for kind in (sa.Integer, sa.LargeBinary)),
    *(("name", kind, "a String") for kind in (sa.LargeBinary, sa.Uuid, sa.Date)),
    *(("pipeline_schedule_id", kind, "an Integer, a Uuid") for kind in (sa.Date, sa.Boolean)),
    *((name, sa.Text, "JSON") for name in ("variables", "metrics", "settings")),
    ("variables", postgresql.ARRAY(sa.Integer), "JSON"),
]


def with_column(base, db, name, kind):
    return type("Backfill", (base, db.Model), {"__tablename__": "b", name: sa.Column(kind)})


@sqlite_alone
@pytest.mark.parametrize(("name", "kind", "told"), WRONG)
def test_a_column_that_can_not_hold_its_values_is_refused(bare, name, kind, told):
    Backfill = with_column(BackfillMixin, bare.db, name, kind)
    with pytest.raises(TypeError, match=rf"Backfill\.{name} must be {told}.*: declare it so"):
        bare.register(Backfill)


@sqlite_alone
@pytest.mark.parametrize(
    ("name", "kind"),
    [("execution_date", sa.Date), ("key", sa.Integer), ("error", sa.Date), ("attempt", sa.Text)],
)
def test_a_column_of_runs_that_can_not_hold_its_values_is_refused(bare, name, kind):
    Run = with_column(BackfillRunMixin, bare.db, name, kind)
    with pytest.raises(TypeError, match=rf"Backfill\.{name} must be .*: declare it so"):
        bare.register(run_model=Run)


class Written(sa.types.TypeDecorator):
    """A moment as a text."""

    impl = sa.String(40)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value and value.isoformat()

    def process_result_value(self, value, dialect):
        return value and datetime.fromisoformat(value)


class Spelled(sa.types.UserDefinedType):
    """A type of which nobody knows what it holds."""

    cache_ok = True

    def get_col_spec(self, **options):
        return "VARCHAR(40)"


LETTERS = sa.Enum("a", "b", native_enum=False)

#: Columns that hold what is read into them, although they look like others.
RIGHT = [
    *(("end_datetime", kind) for kind in (Written, sa.TIMESTAMP, sa.DateTime(timezone=True))),
    ("end_datetime", sa.DateTime().with_variant(sa.String(40), "oracle")),
    *(("interval_units", kind) for kind in (sa.Numeric(9, 0), sa.BigInteger, sa.SmallInteger)),
    ("interval_units", sa.JSON),
    ("name", sa.JSON),
    ("interval_units", sa.Float),
    *(("name", kind) for kind in (sa.Unicode(9), sa.UnicodeText, sa.Text, Spelled, LETTERS)),
    *(("block_uuid", kind) for kind in (sa.Text, sa.Uuid, LETTERS, sa.Integer)),
    ("pipeline_schedule_id", sa.Numeric(9, 0)),
    *(("variables", kind) for kind in (sa.JSON, sa.PickleType)),
    ("variables", sa.JSON().with_variant(postgresql.JSONB(), "postgresql")),
]
SENT = {"end_datetime": "2023-07-01 10:00:00", "interval_units": 2, "name": "a"}
SENT |= {"block_uuid": "b", "pipeline_schedule_id": "5", "variables": {"a": [1]}}


@pytest.mark.parametrize(("name", "kind"), RIGHT)
def test_a_column_that_holds_its_values_in_another_way_is_served(bare, name, kind):
    bare.serve(with_column(BackfillMixin, bare.db, name, kind), seed={"pipeline_uuid": "p"})
    sent = {sa.Uuid: str(uuid.UUID(int=7)), sa.Integer: 7}.get(kind, SENT[name])
    made = bare.post({name: sent})
    assert made.status_code == 201, made.text
    shown = bare.get(made.headers["Location"])[name]
    assert str(shown).removesuffix("+00:00").removesuffix(".0") == str(sent)


def test_a_field_of_the_hosts_own_may_go_with_its_column(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        interval_units = sa.Column(sa.String(9))

    class Own(BackfillSchema):
        interval_units = fields.String(allow_none=True)
        pipeline_schedule_id = Text(allow_none=True)

    bare.serve(Backfill, schema=Own)
    sent = {"interval_units": "one", "pipeline_schedule_id": "7"}
    assert bare.put(sent).status_code == 200
    assert bare.get().items() >= sent.items()


@sqlite_alone
def test_a_synonym_that_converts_is_served(bare):
    def read(row):
        return row.begins and datetime.fromisoformat(row.begins)

    def write(row, moment):
        row.begins = moment and moment.isoformat()

    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        begins = sa.Column(sa.String(40))
        start_datetime = synonym("begins", descriptor=property(read, write))

    bare.serve(Backfill)
    assert bare.put({"start_datetime": "2023-07-01T12:00+02:00"}).status_code == 200
    assert bare.get()["start_datetime"] == "2023-07-01 10:00:00"


@sqlite_alone
def test_a_synonym_that_does_not_convert_is_refused(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        begins = sa.Column(sa.String(40))
        start_datetime = synonym("begins")

    with pytest.raises(TypeError, match=r"Backfill\.start_datetime must be a DateTime"):
        bare.register(Backfill)


class Packed(sa.Integer):
    """A type of the host's own, of which nobody else knows what it converts."""


@sqlite_alone
def test_what_callers_can_not_write_and_the_hosts_own_types_may_be_of_any_kind(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        created_at = sa.Column(sa.Date)
        name = sa.Column(sa.LargeBinary)
        end_datetime = sa.Column(Packed)

    class Closed(BackfillSchema):
        class Meta(BackfillSchema.Meta):
            dump_only = ("name",)

    bare.register(Backfill, schema=Closed)
