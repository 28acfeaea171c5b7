"""A POST that is sent again with its Idempotency-Key."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from conftest import Host
from conftest import LIST
from conftest import often
from conftest import takes_seconds
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from sqlalchemy.orm import synonym

from flask_backfills import backfill_started
from flask_backfills import BackfillMixin
from flask_backfills.rules.idempotency import mark
from flask_backfills.rules.idempotency import MOST

JULY = {"name": "July", "start_datetime": "2023-07-10", "end_datetime": "2023-07-12"}
JULY |= {"interval_type": "day", "interval_units": 1}


def post(host, sent, key="k-1", url=LIST, **headers):
    # A client of its own: of one that threads share, each would have the other's cookies.
    client = host.app.test_client()
    headers = {"Idempotency-Key": key, **headers}
    return client.post(url, json={"backfill": sent}, headers=headers)


def count(host, url=LIST):
    return host.read(url)["metadata"]["count"]


def reasons(response):
    assert response.status_code == 422, response.text
    assert response.json["error"]["errors"].keys() == {"Idempotency-Key"}
    return " ".join(response.json["error"]["errors"]["Idempotency-Key"])


def test_the_same_request_makes_one_backfill(host):
    first = post(host, JULY)
    before = count(host)
    again = post(host, dict(reversed(JULY.items())))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json == first.json
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["ETag"] == first.headers["ETag"]
    assert count(host) == before
    # Without a key, each is a request of its own.
    assert host.post(JULY).json["backfill"]["id"] != first.json["backfill"]["id"]


def test_the_answer_has_the_backfill_as_it_is_now(host):
    url = post(host, JULY).headers["Location"]
    host.put({"name": "August"}, url)
    again = post(host, JULY)
    assert (again.status_code, again.json["backfill"]) == (201, host.get(url))
    assert again.json["backfill"]["name"] == "August"


def test_another_body_is_refused(host):
    post(host, JULY)
    before = count(host)
    for other in ({**JULY, "name": "June"}, {**JULY, "interval_units": True}, {}):
        assert reasons(post(host, other)).startswith("Was used for another request.")
    assert count(host) == before


@pytest.mark.parametrize("pipeline", ["weather", "Arwen_starlight", "arwen_starlight2"])
def test_a_key_belongs_to_a_pipeline(host, pipeline):
    url = f"/api/pipelines/{pipeline}/backfills"
    ids = {post(host, JULY, url=one).json["backfill"]["id"] for one in (LIST, url, LIST, url)}
    assert len(ids) == 2


def test_keys_that_are_only_alike_are_others(host):
    keys = ["a", "A", "a_", "a%", "ab", "a-b", "a b", "a" * 199, "a" * 200]
    ids = [post(host, JULY, key).json["backfill"]["id"] for key in keys]
    assert len(set(ids)) == len(keys)
    assert [post(host, JULY, key).json["backfill"]["id"] for key in keys] == ids


@pytest.mark.parametrize("key", ["", " ", " a", "a ", "a" * 201, "\xe9", "a\tb", "\x7f"])
@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_a_key_that_can_not_be_one_is_refused(host, key, query):
    before = count(host)
    found = reasons(post(host, JULY, key, LIST + query))
    assert found == "Must be 1 to 200 printable ASCII characters."
    assert count(host) == before


def test_what_stores_nothing_uses_up_no_key(runner):
    wrong = {**JULY, "interval_units": 0}
    assert post(runner, wrong).status_code == 422
    assert post(runner, JULY, **{"If-Plan-Match": '"another"'}).status_code == 412
    assert post(runner, {"name": "June"}, url=f"{LIST}?dry_run=true").status_code == 201
    made = post(runner, JULY)
    assert made.status_code == 201
    # A dry run does not look for it either.
    dry = post(runner, {"name": "June"}, url=f"{LIST}?dry_run=true")
    assert (dry.status_code, dry.json["backfill"]["id"]) == (201, None)


def test_a_backfill_that_is_deleted_frees_its_key(host):
    url = post(host, JULY).headers["Location"]
    assert host.client.delete(url).status_code == 200
    assert post(host, {"name": "June"}).status_code == 201


def test_the_key_is_neither_shown_nor_written(host):
    url = post(host, JULY).headers["Location"]
    assert "idempotency_key" not in host.get(url)
    for response in (
        host.put({"idempotency_key": "k-1"}, url),
        host.post({"idempotency_key": "x"}),
    ):
        assert list(response.json["error"]["errors"]) == ["idempotency_key"]


def test_a_start_that_is_sent_again_starts_nothing_twice(runner):
    told = []

    def receive(app, **more):
        told.append(more)

    sent = {**JULY, "status": "initial"}
    dry = runner.post(sent, f"{LIST}?dry_run=true").json["metadata"]["plan"]
    condition = {"If-Plan-Match": f'"{dry["hash"]}"'}
    with backfill_started.connected_to(receive):
        first = post(runner, sent, **condition)
        url = first.headers["Location"]
        for run in runner.claim(limit=3):
            assert runner.end(run)
        # The plan would be another one by now; the answer is no plan at all.
        again = post(runner, sent, **condition)
    assert (first.status_code, again.status_code, len(told)) == (201, 201, 1)
    assert first.json["metadata"]["plan"]["add"] == 3 and "metadata" not in again.json
    assert again.json["backfill"] == runner.get(url)
    assert again.json["backfill"]["status"] == "completed"
    assert len(runner.rows(url)) == 3


def test_the_first_request_takes_the_same_statements_whatever_the_table_holds(host):
    def statements(key):
        host.statements.clear()
        assert post(host, JULY, key).status_code == 201
        return len(host.statements)

    first = statements("k-1")
    for number in range(5):
        post(host, JULY, f"more-{number}")
    assert statements("k-2") == first
    assert statements("k-2") == 1


# Two at once


def both_at_once(host, model, listen, bodies):
    """The answers of requests that have all looked for their key before any is stored."""
    barrier, held = threading.Barrier(len(bodies)), threading.local()

    def wait(mapper, connection, target):
        if not getattr(held, "waited", False):
            held.waited = True
            barrier.wait(30)

    listen(model, "before_insert", wait)
    with ThreadPoolExecutor(len(bodies)) as pool:
        return [*pool.map(lambda sent: post(host, sent), bodies)]


@pytest.fixture(params=[None, "SERIALIZABLE"])
def isolated(request, database_url):
    """A host of its own whose engine has an isolation level, or that of its database."""
    options = {} if request.param is None else {"isolation_level": request.param}
    host = Host(database_url, **options)
    host.serve()
    yield host
    host.close()


def test_two_of_one_body_at_once_make_one_backfill(isolated, listen):
    before = count(isolated)
    answers = both_at_once(isolated, isolated.model, listen, [JULY] * 3)
    assert [answer.status_code for answer in answers] == [201] * 3, [a.text for a in answers]
    assert len({answer.json["backfill"]["id"] for answer in answers}) == 1
    assert count(isolated) == before + 1


def test_of_two_bodies_at_once_one_is_refused(isolated, listen):
    before = count(isolated)
    bodies = [JULY, {**JULY, "name": "June"}]
    answers = both_at_once(isolated, isolated.model, listen, bodies)
    codes = [answer.status_code for answer in answers]
    assert sorted(codes) == [201, 422], [answer.text for answer in answers]
    assert count(isolated) == before + 1
    assert [post(isolated, sent).status_code for sent in bodies] == codes


def test_what_the_host_has_in_its_session_stays(bare):
    db = bare.db

    class Note(db.Model):
        id = sa.Column(sa.Integer, primary_key=True)

    bare.serve()

    @bare.app.before_request
    def note():
        db.session.add(Note())
        db.session.flush()

    @bare.app.after_request
    def commit(response):
        db.session.commit()
        return response

    made = [post(bare, JULY).json["backfill"]["id"] for _ in range(3)]
    assert len(set(made)) == 1
    with bare.app.app_context():
        assert db.session.scalar(sa.select(sa.func.count(Note.id))) == 3


# The host's model


def test_a_model_without_the_column_refuses_the_header(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        idempotency_key = None

    bare.serve(Backfill, openapi=True)
    assert "idempotency_key" not in Backfill.__table__.columns
    assert "can't store one" in reasons(post(bare, JULY))
    assert bare.post(JULY).status_code == 201
    document = bare.client.get("/api/backfills/openapi.json").json
    assert "Idempotency-Key" not in headers(document)


def headers(document):
    parameters = document["paths"]["/pipelines/{pipeline_uuid}/backfills"]["post"]["parameters"]
    return {one["name"]: one["schema"] for one in parameters if one["in"] == "header"}


def test_the_document_has_the_header(lent):
    document = lent(openapi=True).client.get("/api/backfills/openapi.json").json
    told = headers(document)["Idempotency-Key"]
    assert (told["minLength"], told["maxLength"]) == (1, MOST)
    update = document["paths"]["/backfills/{backfill_id}"]["put"]["parameters"]
    assert "Idempotency-Key" not in {one["name"] for one in update}


@pytest.mark.parametrize(("length", "most"), [(60, 5), (55, 0), (255, 200)])
def test_a_column_of_another_name_and_length_decides_how_long_a_key_is(bare, length, most):
    class Rerun(bare.db.Model):
        key = sa.Column(sa.Integer, primary_key=True)
        flow = sa.Column(sa.String(50), nullable=False)
        request_mark = sa.Column(sa.String(length))
        pipeline_uuid = synonym("flow")
        idempotency_key = synonym("request_mark")
        __table_args__ = (sa.UniqueConstraint("flow", "request_mark"),)

    bare.serve(Rerun, seed={"flow": "p"})
    if most:
        ids = {post(bare, {}, "k" * most).json["backfill"]["id"] for _ in range(2)}
        assert len(ids) == 1
    assert post(bare, {}, "k" * (most + 1)).status_code == 422


def test_a_table_gets_the_constraint_whatever_its_own(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        __table_args__ = (sa.Index("by_name", "name"),)

    class Own(BackfillMixin, bare.db.Model):
        __tablename__ = "own"
        __table_args__ = (sa.UniqueConstraint("idempotency_key"),)

    def unique(model):
        of_table = model.__table__.constraints
        found = (one for one in of_table if isinstance(one, sa.UniqueConstraint))
        return [[column.name for column in one.columns] for one in found]

    assert unique(Backfill) == [["pipeline_uuid", "idempotency_key"]]
    assert {index.name for index in Backfill.__table__.indexes} >= {"by_name"}
    assert unique(Own) == [["idempotency_key"]]


def test_a_table_without_the_constraint_is_told_of(bare, caplog):
    class Rerun(bare.db.Model):
        id = sa.Column(sa.Integer, primary_key=True)
        pipeline_uuid = sa.Column(sa.String(50), nullable=False)
        idempotency_key = sa.Column(sa.String(255))

    bare.register(Rerun)
    [record] = caplog.records
    assert "UniqueConstraint('pipeline_uuid', 'idempotency_key')" in record.getMessage()
    assert "two requests at once may make two backfills" in record.getMessage()


def test_a_backfill_that_the_scope_hides_is_not_shown(bare):
    hidden = []

    def scope(query):
        return query.where(bare.model.id.not_in(hidden))

    bare.serve(scope=scope)
    hidden.append(post(bare, JULY).json["backfill"]["id"])
    assert reasons(post(bare, JULY)).startswith("Was used for another request.")
    assert post(bare, JULY, "k-2").status_code == 201


def test_who_may_not_create_learns_nothing(bare):
    allowed = [True]
    bare.serve(authorize=lambda action, pipeline: allowed[0])
    post(bare, JULY)
    allowed[0] = False
    assert {post(bare, sent).status_code for sent in (JULY, {})} == {403}


def test_programs_can_give_a_key_too(host):
    with host.app.app_context():
        create = host.blueprint.backfills.create
        ids = {create("p", JULY, idempotency_key="k").shown["id"] for _ in range(2)}
    assert len(ids) == 1


KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=MOST)


@takes_seconds
@settings(max_examples=often(200))
@given(st.tuples(st.text(), KEYS), st.tuples(st.text(), KEYS), st.dictionaries(KEYS, st.integers()))
def test_marks_of_one_key_stand_together_and_apart_from_others(one, other, sent):
    least, most = mark(*one, {}).range
    stored = str(mark(*one, sent))
    assert len(stored) <= 255 and least < stored < most
    assert (least < str(mark(*other, sent)) < most) is (one == other)
