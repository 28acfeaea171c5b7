"""What the backfills of a pipeline cover, as the API tells it."""

import random
import uuid
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import sqlalchemy as sa
from conftest import about_sql
from conftest import LIST
from jsonschema import Draft202012Validator
from sqlalchemy.orm import synonym
from sqlalchemy.orm import with_loader_criteria

from flask_backfills import BackfillMixin
from flask_backfills import BackfillRunMixin
from flask_backfills.rules.coverage import coverage
from flask_backfills.rules.coverage import Run

pytestmark = about_sql

COVERAGE = "/api/pipelines/arwen_starlight/coverage"
JULY = "start_datetime=2023-07-01&end_datetime=2023-08-01"
KINDS = ["covered", "running", "failed", "gaps", "overlaps"]


def day(number):
    return datetime(2023, 7, 1) + timedelta(days=number - 1)


def backfill(host, pipeline="arwen_starlight", **values):
    """The key of a new backfill, stored as the host's app may store it."""
    with host.app.app_context():
        one = host.model(pipeline_uuid=pipeline, **values)
        host.db.session.add(one)
        host.db.session.commit()
        return one.id


def run(host, of, first, last, status="completed", **values):
    """Store a run that covers the days from one of July up to another."""
    with host.app.app_context():
        host.db.session.add(
            host.blueprint.host.run_model(
                backfill_id=of,
                key=uuid.uuid4().hex,
                execution_date=day(first),
                interval_end_datetime=last and day(last),
                status=status,
                **values,
            )
        )
        host.db.session.commit()


def days(pieces):
    """Pieces of July, by the numbers of their days."""

    def number(moment):
        return 1 + (datetime.fromisoformat(moment) - day(1)).days

    return [
        (number(p["start_datetime"]), number(p["end_datetime"]), p["backfills"]) for p in pieces
    ]


def told(host, query=JULY, url=COVERAGE):
    """The lists with something in them, by the numbers of days, and the share."""
    found = host.read(f"{url}?{query}")["coverage"]
    assert list(found) == [*sorted(KINDS), "share"]
    lists = {kind: days(found[kind]) for kind in KINDS if found[kind]}
    return lists, found["share"]


@pytest.fixture
def mixed(runner):
    """A pipeline with backfills of several steps, and the keys of three."""
    one, two, three = (backfill(runner) for _ in range(3))
    for first in range(1, 8):
        run(runner, one, first, first + 1)
    run(runner, two, 6, 13)
    run(runner, two, 13, 20, "failed")
    run(runner, three, 18, 20)
    run(runner, three, 20, 21, "running")
    run(runner, three, 21, 22, "initial")
    run(runner, three, 22, 23, "cancelled")
    return runner, one, two, three


def test_the_pieces_of_several_backfills_of_several_steps(mixed):
    host, one, two, three = mixed
    lists, share = told(host)
    assert lists == {
        "covered": [(1, 6, [one]), (6, 8, [one, two]), (8, 13, [two]), (18, 20, [three])],
        "running": [(20, 21, [three])],
        "failed": [(13, 18, [two])],
        "gaps": [(13, 18, []), (21, 32, [])],
        "overlaps": [(6, 8, [one, two])],
    }
    # 14 of 31 days, cut off.
    assert share == 0.4516


def test_a_piece_is_cut_to_the_span_and_shown_to_the_microsecond(mixed):
    host, one, *_ = mixed
    query = "start_datetime=2023-07-05T12:00:00.000001%2B02:00&end_datetime=2023-07-05 11:00"
    found = host.read(f"{COVERAGE}?{query}")
    [piece] = found["coverage"]["covered"]
    assert piece == {
        "start_datetime": "2023-07-05 10:00:00.000001",
        "end_datetime": "2023-07-05 11:00:00",
        "backfills": [one],
    }
    assert (found["coverage"]["share"], found["coverage"]["gaps"]) == (1, [])


def test_a_pipeline_without_backfills_is_one_gap(runner):
    url = "/api/pipelines/nobody/coverage"
    assert told(runner, url=url) == ({"gaps": [(1, 32, [])]}, 0)


def test_each_list_is_cut_to_the_page(mixed):
    host, _, two, three = mixed
    whole = host.read(f"{COVERAGE}?{JULY}")
    assert whole["metadata"] == {
        "counts": {"covered": 4, "running": 1, "failed": 1, "gaps": 2, "overlaps": 1},
        "next": False,
    }
    page = host.read(f"{COVERAGE}?{JULY}&_limit=1&_offset=2")
    assert page["metadata"] == {"counts": whole["metadata"]["counts"], "next": True}
    assert days(page["coverage"]["covered"]) == [(8, 13, [two])]
    assert page["coverage"]["gaps"] == [] and page["coverage"]["share"] == 0.4516
    last = host.read(f"{COVERAGE}?{JULY}&_limit=1&_offset=3")
    assert days(last["coverage"]["covered"]) == [(18, 20, [three])]
    assert last["metadata"]["next"] is False


def test_what_is_history_or_was_started_by_the_api_counts(runner):
    sent = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-12", "status": "initial"}
    made = runner.post({**sent, "interval_type": "day", "interval_units": 1}).json["backfill"]
    first, second = runner.claim(limit=2)
    assert runner.end(first)
    key = made["id"]
    lists, _ = told(runner)
    assert lists["covered"] == [(10, 11, [key])] and lists["running"] == [(11, 12, [key])]
    assert runner.end(second, "failed")
    # Now the first is no longer needed.
    later = {"start_datetime": "2023-07-11"}
    assert runner.put(later, f"{LIST}/{key}").status_code == 200
    lists, _ = told(runner)
    assert lists["covered"] == [(10, 11, [key])] and lists["failed"] == [(11, 12, [key])]


def test_runs_without_an_interval_do_not_count(runner):
    key = backfill(runner)
    run(runner, key, 3, None)
    assert told(runner) == ({"gaps": [(1, 32, [])]}, 0)


@pytest.mark.parametrize("other", ["Arwen_Starlight", "arwen_starlight ", "arwen_stärlight", "x"])
def test_other_pipelines_with_almost_this_name_do_not_count(runner, other):
    run(runner, backfill(runner, other), 1, 5)
    assert told(runner) == ({"gaps": [(1, 32, [])]}, 0)


def test_the_runs_of_all_backfills_are_read_with_one_statement(mixed):
    host, *_ = mixed
    for _ in range(5):
        run(host, backfill(host), 1, 5)
    host.statements.clear()
    told(host)
    [statement] = [one for one in host.statements if one.lstrip().startswith("SELECT")]
    assert "variables" not in statement and "settings" not in statement


def test_a_caller_may_list_or_learns_nothing(lent):
    asked = []

    def authorize(action, pipeline_uuid):
        asked.append((action, pipeline_uuid))
        return pipeline_uuid == "arwen_starlight"

    host = lent(authorize=authorize)
    assert host.client.get(f"{COVERAGE}?{JULY}").status_code == 200
    host.statements.clear()
    assert host.client.get("/api/pipelines/other/coverage").status_code == 403
    assert host.statements == []
    assert asked == [("list", "arwen_starlight"), ("list", "other")]


def compares(query, model):
    return query.where(model.name == "mine")


def has_criteria_in_options(query, model):
    return query.options(with_loader_criteria(model, model.name == "mine"))


@pytest.mark.parametrize("scope", [compares, has_criteria_in_options])
def test_what_a_scope_hides_does_not_count(bare, scope):
    model = bare.mixin_model()
    bare.serve(model, run_model=bare.run_model(), scope=lambda query: scope(query, model))
    mine, theirs = backfill(bare, name="mine"), backfill(bare, name="theirs")
    run(bare, mine, 1, 3)
    run(bare, theirs, 2, 5)
    assert told(bare)[0] == {"covered": [(1, 3, [mine])], "gaps": [(3, 32, [])]}


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("", {"start_datetime", "end_datetime"}),
        ("start_datetime=2023-07-01", {"end_datetime"}),
        ("start_datetime=soon&end_datetime=2023-07-01", {"start_datetime"}),
        ("start_datetime=2023-07-01&end_datetime=2023-07-01", {"end_datetime"}),
        ("start_datetime=2023-07-01T02:00%2B02:00&end_datetime=2023-07-01", {"end_datetime"}),
        ("start_datetime=0001-01-01T00:00%2B02:00&end_datetime=2023-07-01", {"start_datetime"}),
        (f"{JULY}&_limit=0", {"_limit"}),
        (f"{JULY}&status=completed", {"status"}),
        (f"{JULY}&end_datetime=2023-07-01", {"end_datetime"}),
    ],
)
def test_a_span_that_is_none_is_refused(runner, query, wrong):
    answer = runner.client.get(f"{COVERAGE}?{query}")
    assert (answer.status_code, set(answer.json["error"]["errors"])) == (422, wrong)


def test_the_whole_of_time_is_a_span(mixed):
    host, one, *_ = mixed
    query = "start_datetime=0001-01-01&end_datetime=9999-12-31T23:59:59.999999"
    found = host.read(f"{COVERAGE}?{query}")["coverage"]
    assert found["covered"][0]["backfills"] == [one] and found["share"] == 0


def test_the_answer_is_as_the_document_has_it(lent):
    host = lent(openapi=True)
    key = backfill(host)
    run(host, key, 1, 3)
    run(host, key, 5, 6, "failed")
    document = host.client.get("/api/backfills/openapi.json").json
    schema = {**document, "$ref": "#/components/schemas/CoverageAnswer"}
    Draft202012Validator(schema).validate(host.read(f"{COVERAGE}?{JULY}"))
    asked = {
        p["name"]: p
        for p in document["paths"]["/pipelines/{pipeline_uuid}/coverage"]["get"]["parameters"]
    }
    assert asked["start_datetime"]["required"] and asked["end_datetime"]["required"]
    Draft202012Validator(asked["start_datetime"]["schema"]).validate("2023-07-01")


@pytest.mark.parametrize("seed", range(4))
def test_runs_that_are_joined_by_the_database_cover_what_each_covers(runner, seed):
    chance = random.Random(seed)
    keys = [backfill(runner) for _ in range(3)]
    stored = []
    for _ in range(40):
        first = chance.randint(-2, 33)
        last = first + chance.choice([0, 1, 1, 1, 2, 3])
        status = chance.choice(["completed", "completed", "running", "failed", "initial"])
        stored.append(Run(day(first), day(last), status, chance.choice(keys)))
    model = runner.blueprint.host.run_model
    with runner.app.app_context():
        for number, (begins, ends, status, key) in enumerate(stored):
            values = {"key": str(number), "execution_date": begins, "interval_end_datetime": ends}
            runner.db.session.add(model(backfill_id=key, status=status, **values))
        runner.db.session.commit()
    expected = coverage(stored, day(1), day(32))
    found = runner.read(f"{COVERAGE}?{JULY}&_limit=100")["coverage"]
    assert found["share"] == expected.share
    for kind in KINDS:
        pieces = [(day(first), day(last), tuple(of)) for first, last, of in days(found[kind])]
        assert pieces == expected.pieces[kind].page, kind


def test_a_host_without_runs_has_no_coverage(host):
    assert host.client.get(f"{COVERAGE}?{JULY}").status_code == 404


def test_a_run_model_without_intervals_says_so(bare):
    class Run(bare.db.Model):
        __tablename__ = "backfill_run"
        id = sa.Column(sa.Integer, primary_key=True)
        backfill_id = sa.Column(sa.Integer)
        key = sa.Column(sa.String(255))
        execution_date = sa.Column(sa.DateTime)
        status = sa.Column(sa.String(16))

    bare.serve(run_model=Run)
    answer = bare.client.get(f"{COVERAGE}?{JULY}")
    assert answer.status_code == 404
    assert answer.json["error"]["message"].startswith("The runs of this app have no intervals")


def test_models_with_other_names_other_keys_and_time_zones(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        id = sa.Column(sa.Uuid, primary_key=True, default=uuid.uuid4)
        team = sa.Column(sa.String(40))
        pipeline_uuid = synonym("team")

    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "backfill_run"
        of = sa.Column(sa.Uuid)
        backfill_id = synonym("of")
        begins = sa.Column(sa.DateTime(timezone=True))
        execution_date = synonym("begins")
        ends = sa.Column(sa.DateTime(timezone=True))
        interval_end_datetime = synonym("ends")
        state = sa.Column(
            sa.Enum("initial", "running", "completed", "failed", "cancelled", name="state")
        )
        status = synonym("state")

    bare.serve(Backfill, run_model=Run, seed={"team": "arwen_starlight"})
    key = backfill(bare)
    with bare.app.app_context():
        for first, status in ((1, "completed"), (2, "completed"), (3, "failed")):
            begins = day(first).replace(tzinfo=timezone.utc)
            ends = begins + timedelta(days=1)
            one = Run(of=key, key=str(first), begins=begins, ends=ends, state=status)
            bare.db.session.add(one)
        bare.db.session.commit()
    lists, _ = told(bare)
    assert lists["covered"] == [(1, 3, [str(key)])] and lists["failed"] == [(3, 4, [str(key)])]
