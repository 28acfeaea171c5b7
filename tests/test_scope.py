"""What a scope hides, however it narrows a SELECT: by joins, groups, or criteria of options."""

import threading
from datetime import datetime
from datetime import timedelta

import pytest
import sqlalchemy as sa
from conftest import few
from conftest import Host
from conftest import LIST
from conftest import of_models
from conftest import wait_for
from sqlalchemy.orm import aliased
from sqlalchemy.orm import with_loader_criteria

from flask_backfills import BackfillMixin
from flask_backfills.console import ConsoleBlueprint

START = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-07"}
START |= {"interval_type": "day", "interval_units": 1, "status": "initial"}


def joins(query, model, grant):
    return query.join(grant, grant.backfill_id == model.id).where(grant.who == "me")


def joins_a_relationship(query, model, grant):
    return query.join(model.grants).where(grant.who == "me")


def joins_and_is_distinct(query, model, grant):
    return joins(query, model, grant).distinct()


def joins_and_groups(query, model, grant):
    joined = query.join(grant, grant.backfill_id == model.id).group_by(model.id)
    return joined.having(sa.func.min(grant.who) == "me")


def joins_what_is_grouped(query, model, grant):
    mine = sa.select(grant.backfill_id, sa.func.count().label("count")).where(grant.who == "me")
    mine = mine.group_by(grant.backfill_id, grant.id).subquery()
    return query.join(mine, mine.c.backfill_id == model.id).where(mine.c.count > 0)


def joins_an_alias(query, model, grant):
    mine, all_ = aliased(grant), aliased(grant)
    query = query.join(mine, mine.backfill_id == model.id)
    query = query.outerjoin(all_, all_.backfill_id == model.id)
    return query.where(mine.who == "me")


def names_two_tables(query, model, grant):
    return query.where(grant.backfill_id == model.id, grant.who == "me")


def asks_whether_there_is_any(query, model, grant):
    return query.where(model.grants.any(grant.who == "me"))


def asks_in_a_list(query, model, grant):
    return query.where(model.id.in_(sa.select(grant.backfill_id).where(grant.who == "me")))


def compares_a_column(query, model, grant):
    return query.where(model.name != "theirs")


def filters_by_name(query, model, grant):
    return query.filter_by(block_uuid=None)


def has_criteria_in_options(query, model, grant):
    return query.options(with_loader_criteria(model, model.name != "theirs"))


SCOPES = [joins, joins_a_relationship, joins_and_is_distinct, joins_and_groups]
SCOPES += [joins_what_is_grouped, joins_an_alias, names_two_tables, asks_whether_there_is_any]
SCOPES += [asks_in_a_list, compares_a_column, filters_by_name, has_criteria_in_options]


@pytest.fixture(scope="module")
def granted():
    """The models of all hosts of these tests, since to make them takes longer than a test."""
    host = Host("sqlite://")
    db = host.db

    class Backfill(BackfillMixin, db.Model):
        __tablename__ = "backfill"
        grants = db.relationship(
            "Grant", viewonly=True, primaryjoin="foreign(Grant.backfill_id) == Backfill.id"
        )

    class Grant(db.Model):
        __tablename__ = "backfill_grant"
        id = sa.Column(sa.Integer, primary_key=True)
        backfill_id = sa.Column(sa.Integer)
        who = sa.Column(sa.String(20))

    return db, Backfill, Grant, host.run_model()


@pytest.fixture
def scoped(database_url, granted):
    """From a scope to a host with 5 backfills that it shows, and 5 that it hides."""
    db, Backfill, Grant, run_model = granted

    def serve(scope):
        def narrow(query):
            return scope(query, Backfill, Grant)

        host.register(Backfill, run_model=run_model, scope=narrow)
        host.app.secret_key = "secret"
        host.app.register_blueprint(ConsoleBlueprint(host.blueprint))
        with host.app.app_context():
            db.create_all()
            for number in range(1, 11):
                whose = "mine" if number % 2 else "theirs"
                row = Backfill(id=number, pipeline_uuid="arwen_starlight", name=whose)
                row.block_uuid = None if number % 2 else "a"
                db.session.add(row)
                who = ["me", "me", "me", "you"] if number % 2 else ["you"]
                if scope is joins_and_groups and number % 2:
                    who = ["me", "me"]
                db.session.add_all(Grant(backfill_id=number, who=one) for one in who)
            db.session.commit()
        host.open()
        return host

    with of_models(database_url, db) as host:
        yield serve


@pytest.mark.parametrize("scope", few(SCOPES))
def test_a_scope_may_join_group_and_ask(scoped, scope):
    host = scoped(scope)
    for page in (f"{LIST}?", "/api/backfills?pipeline_uuid=arwen_starlight&"):
        first, second = (host.read(f"{page}_limit=3&_offset={offset}") for offset in (0, 3))
        ids = [one["id"] for one in [*first["backfills"], *second["backfills"]]]
        assert ids == [9, 7, 5, 3, 1]
        assert [one["metadata"] for one in (first, second)] == [
            {"count": 5, "next": True},
            {"count": 5, "next": False},
        ]
    for at in (f"{LIST}/4", "/api/backfills/4"):
        answers = [host.client.get(at), host.put({"name": "b"}, at), host.put(START, at)]
        answers += [host.client.delete(at), host.client.get(f"{at}/runs")]
        assert [one.status_code for one in answers] == [404] * 5
    at = f"{LIST}/3"
    assert host.get(at)["name"] == "mine"
    assert host.put({"name": "still mine"}, at).status_code == 200
    assert host.put(START, f"{at}?dry_run=true").status_code == 200
    assert host.put(START, at).json["metadata"]["plan"]["add"] == 7
    assert len(host.rows(at)) == 7
    assert host.put({"end_datetime": "2023-03-08"}, at).json["metadata"]["plan"]["add"] == 1
    assert host.put({"status": "cancelled"}, "/api/backfills/3").status_code == 200
    assert host.client.delete(at).status_code == 200
    assert host.client.get(at).status_code == 404
    assert host.read(LIST)["metadata"]["count"] == 4


@pytest.mark.parametrize("scope", few(SCOPES))
def test_runs_of_what_a_scope_hides_do_not_count_for_a_forecast(scoped, scope):
    host = scoped(scope)
    run_model = host.blueprint.host.run_model
    began = datetime(2023, 1, 1)
    with host.app.app_context():
        # 4 is theirs, and 5 is mine.
        for backfill_id, seconds in ((4, 1000), (5, 10)):
            ended = began + timedelta(seconds=seconds)
            for key in "abcde":
                run = run_model(backfill_id=backfill_id, key=key, status="completed")
                run.started_at, run.completed_at = began, ended
                host.db.session.add(run)
        host.db.session.commit()
    metadata = host.put(START, f"{LIST}/3?dry_run=true&at_once=1").json["metadata"]
    assert metadata["forecast"]["based_on"] == 5
    assert metadata["forecast"]["seconds"] == {"p50": 70.0, "p90": 70.0}


def test_commands_and_pages_show_what_a_scope_leaves_once(scoped):
    host = scoped(joins)
    cli = host.app.test_cli_runner()
    listed = cli.invoke(args=["backfills", "list"]).output
    assert listed.count("mine") == 5 and "theirs" not in listed
    console = host.client.get("/backfills/").text
    assert console.count(">mine<") == 5 and ">theirs<" not in console
    assert cli.invoke(args=["backfills", "show", "4"]).exit_code == 1
    assert host.client.get("/backfills/4").status_code == 404


# On SQLite, nothing is read before the lock.
@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_what_is_hidden_while_a_change_waits_for_it_is_not_changed(scoped):
    host = scoped(joins)
    answers = []

    def put():
        answers.append(host.app.test_client().put(f"{LIST}/3", json={"backfill": {"name": "b"}}))

    waiting = threading.Thread(target=put)
    with host.app.app_context(), host.db.engine.connect() as other:
        other.execute(sa.text("UPDATE backfill SET name = 'given away' WHERE id = 3"))
        other.execute(sa.text("UPDATE backfill_grant SET who = 'you' WHERE backfill_id = 3"))
        host.statements.clear()
        waiting.start()
        wait_for(lambda: [one for one in host.statements if "FOR" in one])
        other.commit()
    waiting.join(60)
    assert [one.status_code for one in answers] == [404]


def test_a_scope_costs_a_change_one_statement(scoped):
    host = scoped(lambda query, model, grant: query)
    counts = []
    for scope in (host.blueprint.host.table.scope, None):
        host.blueprint.host.table.scope = scope
        host.statements.clear()
        assert host.put({"name": f"b{len(counts)}"}, f"{LIST}/3").status_code == 200
        counts.append(len(host.statements))
    assert counts[0] == counts[1] + 1
