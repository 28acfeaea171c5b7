"""Runs that wait until their interval has ended."""

import threading
import time
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
from sqlalchemy import Column
from sqlalchemy import DateTime
from sqlalchemy import Integer
from sqlalchemy import String
from test_claims import post
from test_claims import statements_of

from flask_backfills.worker import work

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


def days(first, last, **settings):
    """A window of days whose numbers say how long ago, in days, each of them begins.

    A day begins an hour before now: day 0 has begun, and day 1 has ended.
    """
    window = {"start_datetime": NOW - timedelta(hours=1) - first * DAY}
    window["end_datetime"] = window["start_datetime"] + (first - last) * DAY
    window = {key: value.isoformat() for key, value in window.items()}
    window |= {"interval_type": "day", "interval_units": 1, "status": "initial"}
    return {**window, "settings": {"only_ended": True, **settings}}


def dates_of(runs):
    return [(NOW.replace(tzinfo=None) - run.execution_date) // DAY for run in runs]


def test_a_run_is_handed_out_when_its_interval_has_ended(runner):
    runner.put(days(3, -2))
    assert dates_of(runner.claim(limit=9)) == [3, 2, 1]
    # What has only begun waits, and so does what has not.
    assert runner.claim(limit=9) == []
    assert runner.get()["status"] == "running"
    past = NOW - timedelta(seconds=1)
    with runner.app.app_context():
        # Time goes by.
        model = runner.blueprint.host.run_model
        run = runner.db.session.query(model).filter_by(status="initial").first()
        run.interval_end_datetime = past
        runner.db.session.commit()
    assert dates_of(runner.claim(limit=9)) == [0]


def test_it_can_be_switched_off_and_on_while_the_backfill_is_running(runner):
    runner.put(days(1, -1, only_ended=None))
    assert len(runner.claim()) == 1
    runner.put({"settings": {"only_ended": True}})
    assert runner.claim() == []
    runner.put({"settings": {"only_ended": False}})
    assert dates_of(runner.claim(limit=9)) == [0, -1]


def test_it_goes_with_the_order_and_the_limit(runner):
    runner.put(days(3, -2, order="backwards", pipeline_run_limit=2))
    found = runner.claim(limit=9)
    assert dates_of(found) == [1, 2]
    assert runner.claim(limit=9) == []
    assert all(map(runner.end, found))
    assert dates_of(runner.claim(limit=9)) == [3]


def test_a_run_of_a_generator_waits_for_its_date_where_it_has_one(runner):
    dates = {"past": NOW - DAY, "future": NOW + DAY}
    given = [{"key": key, "execution_date": date.isoformat()} for key, date in dates.items()]
    runner.blueprint.generator("some")(lambda backfill: [*given, {"key": "none"}])
    sent = {"block_uuid": "some", "status": "initial", "settings": {"only_ended": True}}
    assert runner.put(sent).status_code == 200
    assert {run.key for run in runner.claim(limit=9)} == {"past", "none"}


def test_a_worker_does_them_when_they_have_ended_and_once_does_not_wait(own_runner):
    soon = NOW + timedelta(hours=1)
    window = {"start_datetime": (soon - DAY).isoformat(), "end_datetime": soon.isoformat()}
    window |= {"interval_type": "day", "interval_units": 1, "status": "initial"}
    own_runner.blueprint.runner(lambda run: None)
    own_runner.put({**window, "settings": {"only_ended": True}})
    own_runner.work()
    assert own_runner.stored("status") == ["initial", "initial"]
    # One that waits looks again.
    stop, ended = threading.Event(), []

    def tell(run, status):
        ended.append(status)
        stop.set()

    options = {"stop": stop, "tell": tell, "idle": 0.05}
    worker = threading.Thread(
        target=work, args=(own_runner.app, own_runner.blueprint), kwargs=options
    )
    worker.start()
    time.sleep(0.2)
    own_runner.store(
        interval_end_datetime=datetime(2023, 3, 1), execution_date=datetime(2023, 2, 1)
    )
    worker.join(60)
    assert ended and set(ended) == {"completed"}


def test_one_whose_message_comes_too_early_is_sent_again_later(runner):
    runner.put(days(1, 0))
    with runner.app.app_context():
        queue = runner.blueprint.runs
        queued = queue.enqueue(6, 9)
        assert len(queued) == 1
        early = {run["id"] for run in runner.rows()} - {queued[0].run_id}
        assert queue.begin(early.pop()) is None
        assert queue.begin(queued[0].run_id).status == "running"


def test_it_needs_the_end_of_a_run(bare):
    class Run(bare.db.Model):
        __tablename__ = "backfill_run"
        id = Column(Integer, primary_key=True)
        backfill_id = Column(Integer, nullable=False)
        key = Column(String(80), nullable=False)
        status = Column(String(16), nullable=False)
        execution_date = Column(DateTime)

    bare.serve(run_model=Run)
    response = bare.put({"settings": {"only_ended": True}})
    assert response.status_code == 422
    told = "Needs the column interval_end_datetime in the model of runs."
    assert response.json["error"]["errors"] == {"settings": {"only_ended": [told]}}
    assert bare.put({"settings": {"only_ended": False}}).status_code == 200


@pytest.mark.parametrize("wrong", ["true", 1, "yes"])
def test_it_is_true_or_false(runner, wrong):
    assert runner.put({"settings": {"only_ended": wrong}}).status_code == 422


def test_a_claim_takes_as_many_statements_among_many_backfills_that_wait_for_an_interval(runner):
    post(runner, **days(0, 0, priority=1))
    mine = post(runner)
    few, [first] = statements_of(runner, runner.claim)
    for _ in range(20):
        post(runner, **days(0, 0, priority=1))
    many, [second] = statements_of(runner, runner.claim)
    assert first.backfill_id == second.backfill_id == mine
    assert many <= few


def test_a_claim_takes_no_more_statements_where_no_backfill_asks_for_it(runner):
    runner.put(days(9, 3, only_ended=None))
    runner.claim()
    plain, _ = statements_of(runner, runner.claim)
    runner.put({"settings": {"only_ended": True}})
    asked, [run] = statements_of(runner, runner.claim)
    assert asked == plain + 1 and dates_of([run]) == [7]
