"""How long a backfill will take: what is said of it, and how right that is."""

import heapq
import random
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import sqlalchemy as sa
from conftest import CI
from conftest import few
from conftest import LIST
from conftest import often
from conftest import takes_seconds
from conftest import unwatched
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from pages import Console

from flask_backfills import BackfillRunMixin
from flask_backfills.rules.forecast import forecast
from flask_backfills.rules.forecast import seen_at_once
from flask_backfills.rules.forecast import Span
from flask_backfills.rules.past import comparable
from flask_backfills.rules.past import past
from flask_backfills.tables.mixins import utcnow

WEEK = {"start_datetime": "2023-07-10", "end_datetime": "2023-07-16"}
WEEK |= {"interval_type": "day", "interval_units": 1}
START = {**WEEK, "status": "initial"}
BEGAN = datetime(2023, 1, 1)


# The arithmetic


def play(durations, at_once):
    """When the last of some runs ends, of which each begins when a worker is free."""
    free = [0.0] * at_once
    for seconds in durations:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def lognormal(chance, age):
    return chance.lognormvariate(2, 0.8)


def two_peaked(chance, age):
    return max(chance.gauss(60, 5) if chance.random() < 0.2 else chance.gauss(5, 0.5), 0)


def drifted(chance, age):
    """From three times as long, until 150 runs ago."""
    return chance.lognormvariate(2, 0.5) * (1 + 2 * min(max(age - 150, 0) / 1000, 1))


def growing(chance, age):
    """Each one longer than the one before it, all the time."""
    return chance.lognormvariate(2, 0.5) * max(1 - 0.6 * age / 1000, 0.1)


SHAPES = few([lognormal, two_peaked, drifted])


@unwatched
@pytest.mark.parametrize(
    ("duration", "runs", "times"),
    [
        *((duration, 10, 120) for duration in (*SHAPES, growing)),
        *((duration, 100, 60) for duration in SHAPES),
        pytest.param(growing, 100, 60, marks=takes_seconds),
        # How long it goes on growing, the past does not know.
        *(pytest.param(duration, 1000, 50, marks=takes_seconds) for duration in SHAPES),
    ],
)
def test_nine_of_ten_end_by_p90_and_half_by_p50(duration, runs, times):
    chance = random.Random(f"{duration.__name__} {runs}")
    times *= 2 if CI else 1
    held, ratios = 0, []
    for number in range(times):
        at_once, age = (1, 4, 8)[number % 3], (300, 1000)[number % 2]
        took = [duration(chance, 1 + k) for k in range(age)]
        end = play([duration(chance, -k) for k in range(runs)], at_once)
        seconds = forecast(runs, [], at_once, *past(took, age, runs))
        held += end <= seconds.p90
        ratios.append(end / seconds.p50)
    assert held >= 0.8 * times
    # Of fewer tries, all of them hold too often by chance.
    assert times < 100 or held <= 0.99 * times
    assert 0.85 <= sorted(ratios)[times // 2] <= 1.15


@unwatched
@given(st.integers(1, 3000), st.integers(1, 1000), st.floats(0.001, 1e6))
@settings(max_examples=often(40))
def test_runs_that_all_take_as_long_go_in_rounds(runs, at_once, seconds):
    rounds = -(-runs // at_once)
    found = forecast(runs, [], at_once, [seconds] * 300)
    assert found == pytest.approx((rounds * seconds, rounds * seconds))


@unwatched
@given(
    st.integers(0, 200),
    st.lists(st.floats(0, 100), max_size=10),
    st.integers(1, 20),
    st.lists(st.floats(0, 100), min_size=3, max_size=50),
)
@settings(max_examples=often(100))
def test_a_forecast_is_the_same_each_time_and_within_what_can_be(waiting, running, at_once, past):
    found = forecast(waiting, running, at_once, past)
    assert found == forecast(waiting, running, at_once, past[::-1])
    if not waiting + len(running):
        assert found is None
        return
    assert 0 <= found.p50 <= found.p90
    # All by one worker can't be quicker, nor take longer than the longest of each.
    assert found.p90 <= (waiting + len(running)) * max(past) * 1.000001


@pytest.mark.parametrize(
    ("waiting", "running", "at_once", "seconds"), [(0, 4, 1, 10), (2, 3, 1, 30), (2, 4, 2, 20)]
)
def test_more_that_run_than_may_go_on_side_by_side(waiting, running, at_once, seconds):
    # The limit was lowered: it ends no run, but none begins while as many run.
    assert forecast(waiting, [0.0] * running, at_once, [10.0] * 3) == (seconds, seconds)


@unwatched
@given(st.integers(3, 40), st.integers(1, 30))
@settings(max_examples=often(60))
def test_more_at_once_is_never_slower(seed, at_once):
    past = [random.Random(seed).uniform(1, 9) for _ in range(50)]
    one, more = (forecast(60, [], many, past) for many in (at_once, at_once + 1))
    assert more.p50 <= one.p50 * 1.01


def test_a_hundred_thousand_runs_take_as_long_as_their_sum():
    chance = random.Random(1)
    past = [lognormal(chance, 0) for _ in range(1000)]
    found = forecast(100_000, [], 4, past)
    whole = 100_000 / 4 * sum(past) / len(past)
    assert abs(found.p50 / whole - 1) < 0.02 and 1 < found.p90 / found.p50 < 1.1


def test_a_run_that_has_run_for_long_ends_sooner():
    past = [10.0] * 50 + [100.0] * 50
    assert forecast(0, [0.0], 1, past).p90 == 100
    assert forecast(0, [30.0], 1, past) == (70, 70)
    # It takes longer than any has.
    assert forecast(0, [500.0], 1, past).p90 == 100


def test_what_is_older_and_different_does_not_count():
    new, old = [10.0] * 400, [50.0] * 600
    assert list(comparable([*new, *old], 1000)) == new[:300]
    assert list(comparable([*new[:150], *old], 1000)) == new[:100]
    # Others of its pipeline count where they are alike.
    assert len(comparable([*new[:8], *old], 8)) == 8
    assert len(comparable([*new[:8], *new], 8)) == 408
    assert len(comparable([*new[:2], *old], 2)) == 602


def test_what_takes_longer_and_longer_goes_on_so_for_a_while():
    took = [float(seconds) for seconds in range(200, 100, -1)]
    for waiting, expected in ((0, 200), (10, 205), (1000, 225)):
        found = past(took, 100, waiting)
        assert found.durations == pytest.approx([expected] * 100)
        assert found.error == pytest.approx(0)
    # The backfill's own are a time of their own, and so are those of its pipeline before a start.
    assert past([*took, *[5.0] * 100], 100, 10).durations == pytest.approx([205] * 100)
    assert past(took, 0, 10).durations == pytest.approx([205] * 100)
    # What may as well be chance is told as less sure, and what gets quicker is no promise.
    chance = random.Random(1)
    unsteady = [seconds + chance.gauss(0, 30) for seconds in took]
    assert 0.02 < past(unsteady, 100, 10).error < 0.1
    assert past(took[::-1], 100, 10) == (comparable(took[::-1], 100), 0)
    # A step is none of it.
    assert list(past([9.0] * 150 + [5.0] * 850, 1000, 10).durations) == [9.0] * 100


@st.composite
def spans(draw):
    begun = draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=12))
    return [Span(start, start + length) for start, length in begun]


@given(spans(), st.booleans())
@settings(max_examples=often(200))
def test_how_many_ran_at_once_is_what_one_would_see_second_by_second(found, more):
    since = min((one.end if more else one.start for one in found), default=0)
    seen = [sum(one.start <= second < one.end for one in found) for second in range(since, 40)]
    seen = sorted(count for count in seen if count)
    assert seen_at_once(found, more) == (seen[(len(seen) - 1) // 2] if seen else 0)


# What is said


def finished(host, backfill_id, durations, at_once=1, **values):
    """Store runs that have completed, one after the other, several at once."""
    model, began = host.blueprint.host.run_model, BEGAN
    with host.app.app_context():
        for number, seconds in enumerate(durations):
            run = model(backfill_id=backfill_id, key=f"old {number}", status="completed")
            run.started_at = began + timedelta(seconds=number // at_once * 1000)
            run.completed_at = run.started_at + timedelta(seconds=seconds)
            for name, value in values.items():
                setattr(run, name, value)
            host.db.session.add(run)
        host.db.session.commit()
        host.db.session.remove()


def would(host, sent, query="", url=None):
    """The forecast of a dry run."""
    if url is None:
        answer = host.post(sent, f"{LIST}?dry_run=true{query}")
    else:
        answer = host.put(sent, f"{url}?dry_run=true{query}")
    return answer.json["metadata"]["forecast"]


@pytest.fixture
def before(runner):
    """A backfill that has done ten runs of 60 seconds each, two at once."""
    made = runner.post(WEEK, LIST).json["backfill"]["id"]
    finished(runner, made, [60] * 10, at_once=2)
    return made


def test_a_dry_run_says_how_long_the_runs_would_take(runner, before):
    told = would(runner, START)
    finish = told.pop("finish")
    four = {"p50": 240.0, "p90": 240.0}
    assert told == {"runs": 7, "at_once": 2, "seconds": four, "based_on": 10}
    at = datetime.fromisoformat(finish["p50"])
    assert abs(at - utcnow() - timedelta(seconds=240)) < timedelta(seconds=60)
    assert finish["p50"] == at.isoformat(sep=" ") == finish["p90"]
    # Of the same backfill, and of what an edit leaves.
    url = f"{LIST}/{before}"
    assert would(runner, {"status": "initial"}, url=url)["runs"] == 7
    runner.put({"status": "initial"}, url)
    assert would(runner, {"end_datetime": "2023-07-11"}, url=url)["runs"] == 2
    # What plans nothing has none.
    assert "forecast" not in runner.put({"name": "x"}, f"{url}?dry_run=true").json["metadata"]
    assert "forecast" not in runner.put({"end_datetime": "2023-07-12"}, url).json["metadata"]


def test_how_many_run_at_once_is_asked_or_set_or_seen(runner, before):
    assert would(runner, START, "&at_once=7")["seconds"]["p50"] == 60
    limited = {**START, "settings": {"pipeline_run_limit": 3}}
    assert would(runner, limited)["at_once"] == 3
    assert would(runner, limited, "&at_once=1")["seconds"]["p50"] == 420
    other = "/api/pipelines/other/backfills"
    told = runner.post(START, f"{other}?dry_run=true").json["metadata"]["forecast"]
    unknown = {"seconds": None, "finish": None, "based_on": 0}
    assert told == {"runs": 7, "at_once": 1, **unknown}


def test_a_backfill_says_how_long_its_runs_take(runner, before):
    url = f"{LIST}/{before}"
    runner.put({"status": "initial"}, url)
    etag = runner.client.get(url).headers["ETag"]
    answer = runner.client.get(f"{url}?include_forecast=true&at_once=7")
    told = answer.json["backfill"]["forecast"]
    assert (told["runs"], told["at_once"], told["based_on"]) == (7, 7, 10)
    assert told["seconds"] == {"p50": 60.0, "p90": 60.0}
    assert answer.headers["ETag"] == etag
    assert "total_run_count" not in answer.json["backfill"]
    assert "forecast" not in runner.get(url)
    # A client may send back what it has read.
    assert runner.put(answer.json["backfill"], url, headers={"If-Match": etag}).status_code == 200
    counted = runner.get(f"{url}?include_forecast=true&include_run_count=true")
    assert counted["forecast"]["runs"] == counted["run_status_counts"]["initial"] == 7
    # Runs that run have done a part of it.
    [run] = runner.claim()
    with runner.app.app_context():
        long_ago = utcnow() - timedelta(seconds=50)
        model = runner.blueprint.host.run_model
        runner.db.session.execute(
            sa.update(model).where(model.id == run.id).values(started_at=long_ago)
        )
        runner.db.session.commit()
    assert runner.get(f"{url}?include_forecast=true&at_once=7")["forecast"]["seconds"]["p50"] == 60
    told = runner.get(f"{url}?include_forecast=true&at_once=1")["forecast"]
    assert told["runs"] == 7 and 360 < told["seconds"]["p50"] < 375


@pytest.mark.parametrize(("start", "runs"), [("2023-07-14", 5), ("2023-07-11", 7)])
def test_what_an_edit_no_longer_needs_but_runs_is_waited_for(runner, before, start, runs):
    url = f"{LIST}/{before}"
    runner.put({"status": "initial"}, url)
    assert [run.key[:10] for run in runner.claim(limit=2)] == ["2023-07-10", "2023-07-11"]
    assert would(runner, {"start_datetime": start}, url=url)["runs"] == runs
    runner.put({"start_datetime": start}, url)
    assert runner.get(f"{url}?include_forecast=true")["forecast"]["runs"] == runs


def test_what_is_not_known_is_null(runner):
    url = f"{LIST}/6"
    finished(runner, 6, [60] * 2)
    told = would(runner, START, url=url)
    assert told == {"runs": 7, "at_once": 1, "seconds": None, "finish": None, "based_on": 2}
    # Nothing waits.
    told = runner.get(f"{url}?include_forecast=true")["forecast"]
    assert told == {"runs": 0, "at_once": 1, "seconds": None, "finish": None, "based_on": 2}


def test_of_a_paused_backfill_nobody_knows_when_it_ends(runner, before):
    told = would(runner, {**START, "settings": {"paused": True}})
    assert (told["paused"], told["finish"], told["seconds"]["p50"]) == (True, None, 240)


def test_only_completed_runs_of_the_pipeline_count(runner, before):
    other = "/api/pipelines/other/backfills"
    theirs = runner.post(WEEK, other).json["backfill"]["id"]
    finished(runner, theirs, [1000] * 9)
    failed = runner.post(WEEK, LIST).json["backfill"]["id"]
    finished(runner, failed, [1000] * 9, status="failed")
    # Marked as done, and never begun.
    done = runner.post(WEEK, LIST).json["backfill"]["id"]
    finished(runner, done, [1000] * 9, started_at=None)
    assert would(runner, START)["based_on"] == 10


def test_no_more_than_the_newest_thousand_count(runner, before):
    more = runner.post(WEEK, LIST).json["backfill"]["id"]
    finished(runner, more, [60] * 1200, at_once=2)
    assert would(runner, START)["based_on"] == 1000
    assert would(runner, START, url=f"{LIST}/{more}")["based_on"] == 1000


@pytest.mark.parametrize("backwards", [False, True])
def test_of_a_long_backfill_the_newest_count_whichever_end_it_runs_to(runner, backwards):
    rows = []
    for number in range(2500):
        began = BEGAN + timedelta(minutes=number)
        date = BEGAN + timedelta(days=-number if backwards else number)
        # Only the newest are quick.
        ended = began + timedelta(seconds=10 if number >= 1500 else 50)
        row = {"backfill_id": 6, "key": f"old {number}", "status": "completed"}
        rows.append({**row, "execution_date": date, "started_at": began, "completed_at": ended})
    with runner.app.app_context():
        runner.db.session.execute(sa.insert(runner.blueprint.host.run_model), rows)
        runner.db.session.commit()
    told = would(runner, START, "&at_once=1", url=f"{LIST}/6")
    assert (told["seconds"]["p90"], told["based_on"]) == (70, 1000)
    # So it is for others of its pipeline.
    assert would(runner, START, "&at_once=1")["seconds"]["p90"] == 70


@pytest.mark.parametrize(("seconds", "at_once"), [(10**11, 1), (-60, 4)])
def test_nonsense_in_the_table_is_no_error(runner, seconds, at_once):
    finished(runner, 6, [60] * 3, completed_at=BEGAN + timedelta(seconds=min(seconds, 2 * 10**11)))
    hours = {**START, "start_datetime": "2013-07-16", "interval_type": "hour"}
    told = would(runner, hours, url=f"{LIST}/6")
    assert told["seconds"]["p50"] >= 0 and (told["finish"] is None) == (seconds > 0)


def test_a_forecast_takes_two_statements_at_most(runner, before):
    url = f"{LIST}/{before}"
    runner.put({"status": "initial"}, url)
    counts = []
    for query in ("", "?include_forecast=true", "?include_run_count=true"):
        runner.statements.clear()
        runner.get(f"{url}{query}")
        counts.append(len(runner.statements))
    assert counts[1] <= counts[0] + 2
    runner.statements.clear()
    runner.get(f"{url}?include_run_count=true&include_forecast=true")
    assert len(runner.statements) <= counts[2] + 2
    # A page beyond the plan, since a dry run reads what its page shows. Its notes take one more.
    selects = []
    for query in ("?dry_run=true&_offset=1000", ""):
        runner.statements.clear()
        runner.put({"end_datetime": "2023-07-15"}, f"{url}{query}")
        selects.append(sum("SELECT" in one for one in runner.statements))
    assert selects[0] <= selects[1] + 3


@pytest.mark.parametrize("at_once", ["0", "1001", "x", "1.5", ""])
def test_at_once_is_from_1_to_1000(runner, at_once):
    asked = f"at_once={at_once}"
    for answer in (
        runner.client.get(f"{LIST}/6?include_forecast=true&{asked}"),
        runner.put(START, f"{LIST}/6?dry_run=true&{asked}"),
    ):
        assert answer.status_code == 422 and "at_once" in answer.json["error"]["errors"]


@pytest.mark.parametrize("lacks", ["started_at", "completed_at"])
def test_without_the_columns_there_is_no_forecast(bare, lacks):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "run"
        locals()[lacks] = None

    bare.serve(run_model=Run)
    assert would(bare, START, url=f"{LIST}/6") is None
    assert bare.get(f"{LIST}/6?include_forecast=true")["forecast"] is None


def test_without_runs_there_is_no_forecast(host):
    assert host.get(f"{LIST}/6?include_forecast=true")["forecast"] is None


def test_other_names_and_zones_of_columns_are_read(bare):
    class Run(BackfillRunMixin, bare.db.Model):
        __tablename__ = "run"
        began = sa.Column("begun", sa.DateTime(timezone=True))
        started_at = sa.orm.synonym("began")

    bare.serve(run_model=Run)
    finished(bare, 6, [60] * 3)
    assert would(bare, START, url=f"{LIST}/6")["seconds"]["p50"] == 420


# Elsewhere


LINE = "The forecast: about 4 min for 7 runs, 2 at once."


def test_the_console_says_how_much_is_left(runner, before):
    assert LINE in Console(runner).get(f"{before}/start")
    runner.put({"status": "initial"}, f"{LIST}/{before}")
    page = " ".join(Console(runner).get(str(before)).split())
    assert "in 4 minutes" in page or "in 3 minutes" in page
    assert "about 4 min left" in " ".join(Console(runner).get("").split())
    runner.put({"settings": {"paused": True}}, f"{LIST}/{before}")
    page = " ".join(Console(runner).get(str(before)).split())
    assert "in 4 minutes" not in page and "in 3 minutes" not in page and "paused" in page
    assert "min left" not in Console(runner).get("")


def test_the_commands_say_how_long_it_takes(runner, before):
    cli = runner.app.test_cli_runner()
    assert LINE in cli.invoke(args=["backfills", "preview", str(before)]).output
    runner.put({"status": "initial"}, f"{LIST}/{before}")
    assert LINE in cli.invoke(args=["backfills", "show", str(before)]).output
    assert "forecast" not in cli.invoke(args=["backfills", "show", "6"]).output


def test_with_only_ended_it_waits_for_the_end_of_the_last_interval(runner):
    finished(runner, 6, [60] * 30)
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    window = {"start_datetime": str(now - timedelta(days=2)), "interval_type": "day"}
    window |= {"end_datetime": str(now + timedelta(days=2)), "interval_units": 1}
    sent = {**window, "status": "initial", "settings": {"pipeline_run_limit": 2}}
    assert would(runner, sent, url=f"{LIST}/6")["seconds"]["p90"] == 180
    sent["settings"]["only_ended"] = True
    seconds = would(runner, sent, url=f"{LIST}/6")["seconds"]
    # The last run begins in three days, and then takes a minute.
    assert 3 * 86_400 < seconds["p50"] <= seconds["p90"] <= 3 * 86_400 + 60
