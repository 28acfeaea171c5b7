"""The canary: a few telling runs are done first, and then the backfill pauses itself."""

from collections import Counter
from datetime import timedelta

import pytest
import sqlalchemy as sa
from celery import Celery
from conftest import URL
from hypothesis import given
from hypothesis import strategies as st
from test_claims import post
from test_claims import statements_of
from test_explain import codes
from test_explain import messages
from test_only_ended import dates_of
from test_only_ended import days

from flask_backfills import BackfillMixin
from flask_backfills.celery import CeleryDispatcher
from flask_backfills.rules.canary import telling

DAYS = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-11"}
DAYS |= {"interval_type": "day", "interval_units": 1}
START = {**DAYS, "status": "initial"}


def start(host, canary=3, **settings):
    response = host.put({**START, "settings": {"canary": canary, **settings}})
    assert response.status_code == 200, response.text


def numbers(runs):
    return [int(run.key[8:10]) for run in runs]


def settings_of(host):
    return host.get()["settings"]


# Which runs


HOURS = st.lists(st.sampled_from([23, 24, 24, 24, 25, 48]), min_size=1, max_size=40)


def naive(lengths, count):
    """The same in the words of the documentation, and slowly."""
    last, middle = len(lengths) - 1, len(lengths) // 2
    common = Counter(lengths).most_common(1)[0][0]
    unusual = [place for place, one in enumerate(lengths) if one != common]
    chosen = {0, last}
    if count > 2:
        shown = [lengths[0], lengths[-1]]
        others = [place for place in unusual if place not in chosen]

        def rank(place):
            one = lengths[place]
            return shown.count(one), lengths.count(one), -abs(one - common), place

        chosen.add(min(others, key=rank, default=middle))
    if count > 3:
        chosen.add(middle)
    return sorted(chosen)


@given(HOURS, st.integers(1, 10))
def test_as_many_as_asked_are_chosen_and_each_once(hours, count):
    found = telling([timedelta(hours=one) for one in hours], count)
    assert len(found) == min(count, len(hours))
    assert found == sorted(set(found)) and set(found) <= set(range(len(hours)))
    if count > 1:
        assert {found[0], found[-1]} == {0, len(hours) - 1}


@given(HOURS, st.integers(2, 3))
def test_three_are_the_first_the_last_and_an_unusual_one_or_the_middle(hours, count):
    [(_, most), *rest] = Counter(hours).most_common()
    if len(hours) > 4 and not any(one == most for _, one in rest):
        found = telling([timedelta(hours=one) for one in hours], count)
        assert found == naive(hours, count)


@pytest.mark.parametrize(
    "step, first, last, count, expected",
    [
        # The clocks of Berlin change on 26 March and on 29 October.
        ("day", "2023-03-20", "2023-04-20", 3, ["03-20", "03-26", "04-20"]),
        ("day", "2023-03-20", "2023-04-20", 4, ["03-20", "03-26", "04-05", "04-20"]),
        ("day", "2023-05-01", "2023-05-21", 3, ["05-01", "05-11", "05-21"]),
        ("day", "2023-05-01", "2023-05-21", 1, ["05-01"]),
        ("day", "2023-05-01", "2023-05-21", 2, ["05-01", "05-21"]),
        (
            *("day", "2023-03-01", "2023-11-30", 5),
            ["03-01", "03-26", "07-16", "10-29", "11-30"],
        ),
        ("month", "2023-01-01", "2023-12-01", 3, ["01-01", "02-01", "12-01"]),
    ],
)
def test_changes_of_the_clocks_and_short_months_come_before_ordinary_ones(
    lent, step, first, last, count, expected
):
    host = lent(timezone="Europe/Berlin")
    # At midnight in Berlin.
    offset = "+02:00" if first > "2023-03-27" else "+01:00"
    window = {"start_datetime": f"{first}T00:00{offset}"}
    window["end_datetime"] = f"{last}T00:00{'+01:00' if last > '2023-10-29' else '+02:00'}"
    window |= {"interval_type": step, "interval_units": 1, "status": "initial"}
    assert host.put({**window, "settings": {"canary": count}}).status_code == 200
    assert [run.variables["ds"][5:] for run in host.claim(limit=50)] == expected


# What happens


def test_only_the_canary_is_handed_out_and_then_the_backfill_pauses_itself(runner):
    start(runner)
    found = runner.claim(limit=20)
    assert numbers(found) == [1, 6, 11]
    assert runner.claim(limit=20) == []
    for run in found[:2]:
        runner.end(run)
        assert "paused" not in settings_of(runner) and runner.claim(limit=20) == []
    assert codes(runner) == ["moving", "canary"]
    runner.end(found[2], "failed")
    assert settings_of(runner) == {"canary": 3, "paused": True}
    assert runner.get()["status"] == "running"
    assert messages(runner)[0] == "Canary: 3 of 3 ended, 1 failed."
    assert codes(runner) == ["canary_ended", "paused"]
    assert runner.claim(limit=20) == []


def test_paused_false_goes_on_with_the_rest(runner):
    start(runner)
    for run in runner.claim(limit=20):
        runner.end(run)
    assert runner.put({"settings": {"canary": 3, "paused": False}}).status_code == 200
    rest = runner.claim(limit=20)
    assert numbers(rest) == [2, 3, 4, 5, 7, 8, 9, 10]
    for run in rest:
        runner.end(run)
    assert runner.get()["status"] == "completed"


def test_a_pause_of_somebodys_own_does_not_end_it(runner):
    start(runner)
    [first] = runner.claim()
    runner.put({"settings": {"canary": 3, "paused": True}})
    runner.end(first)
    # Whoever resumes it gets the rest of the canary, and then another pause.
    assert codes(runner) == ["paused", "canary"]
    runner.put({"settings": {"canary": 3}})
    assert numbers(runner.claim(limit=20)) == [6, 11]


def test_new_variables_leave_it_as_it_is(runner):
    start(runner)
    [first] = runner.claim()
    runner.end(first)
    runner.put({"variables": {"n": 1}})
    assert numbers(runner.claim(limit=20)) == [6, 11]


def test_null_lifts_it_while_it_is_running_and_after_the_pause(runner):
    start(runner)
    found = runner.claim(limit=1)
    runner.put({"settings": {"canary": None}})
    found += runner.claim(limit=2)
    assert numbers(found) == [1, 2, 3]
    runner.put({"settings": {"canary": 2}})
    # Live: among those that have not run.
    assert numbers(runner.claim(limit=20)) == [4, 11]
    for run in runner.claim(limit=20) + found:
        runner.end(run)
    runner.put({"settings": {"canary": None, "paused": True}})
    runner.put({"settings": {"canary": None}})
    assert numbers(runner.claim(limit=20)) == [5, 6, 7, 8, 9, 10]


def test_one_that_waits_for_its_next_try_has_not_ended(runner):
    start(runner, max_attempts=2, retry_delay=3600)
    first, *others = runner.claim(limit=20)
    for run in others:
        runner.end(run)
    runner.end(first, "failed")
    assert runner.claim(limit=20) == [] and "paused" not in settings_of(runner)
    assert codes(runner) == ["next_try", "canary"]
    runner.store(available_at=None)
    [again] = runner.claim(limit=20)
    assert again.id == first.id
    runner.end(again)
    assert settings_of(runner)["paused"] is True


def test_one_that_covers_the_whole_window_ends_the_backfill(runner):
    start(runner, canary=10)
    runner.put({"status": "cancelled"})
    runner.put({**START, "end_datetime": "2023-03-03", "settings": {"canary": 3}})
    for run in runner.claim(limit=20):
        runner.end(run)
    assert runner.get()["status"] == "completed"
    assert settings_of(runner) == {"canary": 3}


def test_an_edit_of_the_window_chooses_again_among_what_has_not_run(runner):
    start(runner)
    [first] = runner.claim()
    runner.end(first)
    runner.put({"end_datetime": "2023-03-05"})
    found = runner.claim(limit=20)
    assert numbers(found) == [2, 4, 5]
    for run in found:
        runner.end(run)
    assert settings_of(runner)["paused"] is True
    # While it is paused, nothing is handed out; then the new canary is.
    runner.put({"end_datetime": "2023-03-31"})
    assert runner.claim(limit=20) == []
    runner.put({"settings": {"canary": 2, "paused": False}})
    assert numbers(runner.claim(limit=20)) == [3, 31]


def test_a_preview_says_that_a_canary_goes_first(runner):
    def notes(**sent):
        return runner.put(sent, f"{URL}?dry_run=true").json["metadata"]["notes"]

    told = "The canary goes first: 3 of 11 runs. When they have ended, the backfill pauses."
    assert notes(**START, settings={"canary": 3}) == [told]
    assert notes(**START, settings={"canary": 10, "skip_covered": True})[0].startswith("The can")
    assert notes(**START) == []
    start(runner)
    assert notes(end_datetime="2023-03-12") == [told.replace("11", "12")]
    assert notes(end_datetime="2023-03-12", settings={"canary": None}) == []
    # New variables leave it as it is.
    assert notes(variables={"depth": 5}) == []


def test_a_start_again_has_a_canary_of_what_runs_again(runner):
    start(runner, canary=None)
    for run in runner.claim(limit=20):
        runner.end(run, "completed" if numbers([run]) < [8] else "failed")
    assert runner.get()["status"] == "failed"
    runner.put({"status": "running", "settings": {"canary": 1}})
    assert numbers(runner.claim(limit=20)) == [8]


def test_it_goes_with_the_order_the_limit_and_too_many_failures(runner):
    start(runner, order="backwards", pipeline_run_limit=2, max_failures=2)
    found = runner.claim(limit=20)
    assert numbers(found) == [11, 6]
    for run in found:
        runner.end(run, "failed")
    assert runner.get()["status"] == "failed"
    # What somebody tries again then is no canary's matter.
    row = runner.rows()[1]
    runner.put({"settings": {"canary": 3}})
    response = runner.client.put(f"{URL}/runs/{row['id']}", json={"run": {"status": "initial"}})
    assert response.status_code == 200
    assert numbers(runner.claim(limit=20)) == [2]


def test_it_is_chosen_anew_once_runs_are_to_wait_until_they_have_ended(runner):
    runner.put(days(3, -2, only_ended=None, canary=2))
    [first] = runner.claim()
    runner.put({"settings": {"canary": 2, "only_ended": True}})
    runner.end(first)
    runner.blueprint.runner(lambda run: None)
    runner.work()
    assert settings_of(runner)["paused"] and runner.stored("status").count("completed") == 3
    runner.put({"settings": {"canary": 2, "paused": True}})
    assert codes(runner)[0] == "canary_ended"


def test_it_is_chosen_anew_once_what_others_have_done_is_left_out(runner):
    runner.blueprint.runner(lambda run: None)
    post(runner, **{**START, "end_datetime": "2023-03-01"})
    runner.work()
    start(runner, 1)
    runner.put({"settings": {"canary": 1, "skip_covered": True}})
    assert "paused" not in settings_of(runner)
    assert numbers(runner.claim(limit=5)) == [2]


def test_it_goes_with_only_ended(runner):
    sent = days(8, -5)
    sent["settings"]["canary"] = 3
    runner.put(sent)
    # What has to wait itself would hold up all others.
    assert dates_of(runner.claim(limit=20)) == [8, 4, 1]


def test_it_goes_with_generators(runner):
    runner.blueprint.generator("sources")(lambda backfill: [{"key": one} for one in "abcdefg"])
    sent = {"block_uuid": "sources", "status": "initial", "settings": {"canary": 3}}
    assert runner.put(sent).status_code == 200
    found = runner.claim(limit=20)
    assert {run.key for run in found} == {"a", "d", "g"}
    for run in found:
        runner.end(run)
    assert settings_of(runner)["paused"] is True


def test_a_run_of_it_that_is_cancelled_or_marked_as_done_has_ended(runner):
    start(runner, canary=2)
    first, last = runner.claim(limit=20)
    runner.end(first)
    response = runner.client.put(f"{URL}/runs/{last.id}", json={"run": {"status": "cancelled"}})
    assert response.status_code == 200
    assert settings_of(runner)["paused"] is True


def test_the_pause_is_told_by_a_signal_and_a_dry_run_chooses_nothing(runner):
    assert (
        runner.put({**START, "settings": {"canary": 1}}, f"{URL}?dry_run=true").status_code == 200
    )
    start(runner, canary=1)
    told = []
    from flask_backfills import backfill_updated

    def tell(sender, backfill, changes):
        told.append(changes)

    with backfill_updated.connected_to(tell, sender=runner.app):
        [run] = runner.claim(limit=20)
        runner.put({"settings": {"canary": 5}}, f"{URL}?dry_run=true")
        assert runner.claim(limit=20) == []
        runner.end(run)
    assert told[-1]["settings"] == ({"canary": 1}, {"canary": 1, "paused": True})


# Crashes


@pytest.mark.parametrize("who", ["claim", "recover", "finish", "edit", "enqueue", "begin"])
def test_a_crash_before_the_pause_lets_no_other_run_out(runner, who):
    start(runner, canary=2)
    first, last = runner.claim(limit=20)
    with runner.app.app_context():
        # What follows for the backfill is not done: the worker dies here.
        for run in (first, last):
            runner.blueprint.runs.finish(run, "completed", later=True)
    assert settings_of(runner) == {"canary": 2}
    if who == "claim":
        assert runner.claim(limit=20) == []
    elif who in ("enqueue", "begin"):
        waiting = [run["id"] for run in runner.rows() if run["status"] == "initial"]
        with runner.app.app_context():
            queue = runner.blueprint.runs
            assert not (queue.enqueue(6, 9) if who == "enqueue" else queue.begin(waiting[0]))
    elif who == "recover":
        runner.recover()
    elif who == "edit":
        runner.put({"settings": {"canary": 2, "priority": 1}})
    else:
        # One whose answer was lost ends it again.
        assert not runner.end(last)
    assert settings_of(runner)["paused"] is True
    assert runner.claim(limit=20) == []
    assert runner.statuses(URL) == {"completed": 2, "initial": 9}


def test_workers_do_the_canary_and_no_more(own_runner):
    done = []
    own_runner.blueprint.runner(lambda run: done.append(run.key))
    start(own_runner)
    own_runner.work(concurrency=4)
    assert sorted(done) == [f"2023-03-{day:02}T00:00:00" for day in (1, 6, 11)]
    assert settings_of(own_runner)["paused"] is True
    own_runner.put({"settings": {"canary": 3}})
    own_runner.work(concurrency=4)
    assert len(done) == len(set(done)) == 11
    assert own_runner.get()["status"] == "completed"


def test_celery_does_the_canary_and_no_more(own_runner):
    done = []
    own_runner.blueprint.runner(lambda run: done.append(run.key))
    celery = Celery("canary", set_as_current=False)
    celery.conf.update(task_always_eager=True, task_eager_propagates=True)
    dispatcher = CeleryDispatcher(celery, own_runner.blueprint)
    start(own_runner)
    assert len(done) == 3 and settings_of(own_runner)["paused"] is True
    with own_runner.app.app_context():
        dispatcher.recover()
        # One whose message was sent before somebody asked for a canary.
        early = {run["id"] for run in own_runner.rows() if run["status"] == "initial"}
        assert own_runner.blueprint.runs.begin(early.pop()) is None
    assert len(done) == 3
    own_runner.put({"settings": {"canary": 3}})
    assert len(done) == len(set(done)) == 11


# What it costs, and what it needs


def test_a_claim_takes_as_many_statements_among_many_canaries_that_run(runner):
    def begin(count):
        for _ in range(count):
            key = post(runner, **DAYS, settings={"canary": 1, "priority": 1})
            assert len(runner.claim(key)) == 1

    begin(2)
    mine = post(runner)
    runner.claim()
    few, [first] = statements_of(runner, runner.claim)
    begin(20)
    many, [second] = statements_of(runner, runner.claim)
    assert first.backfill_id == second.backfill_id == mine
    assert many <= few


def test_a_claim_takes_no_more_statements_where_no_backfill_asks_for_it(runner):
    start(runner, canary=None)
    runner.claim()
    plain, _ = statements_of(runner, runner.claim)
    runner.put({"settings": {"canary": 3}})
    asked, _ = statements_of(runner, runner.claim)
    assert asked == plain + 1


@pytest.mark.parametrize("wrong", [0, 11, "many", 1.5, True])
def test_it_is_a_number_from_1_to_10(runner, wrong):
    response = runner.put({"settings": {"canary": wrong}})
    assert response.status_code == 422 and "canary" in response.text


def test_the_keys_are_never_shown_and_can_not_be_written(runner):
    start(runner)
    assert "canary_runs" not in runner.get()
    assert runner.put({"canary_runs": []}).status_code == 422


def test_a_model_without_the_column_refuses_it(bare):
    class Backfill(BackfillMixin, bare.db.Model):
        __tablename__ = "backfill"
        canary_runs = None

    bare.serve(Backfill, run_model=bare.run_model())
    response = bare.put({"settings": {"canary": 3}})
    assert response.status_code == 422
    told = "Needs the column canary_runs, of JSON, in the model of backfills."
    assert response.json["error"]["errors"] == {"settings": {"canary": [told]}}
    with bare.app.app_context():
        # Stored by the host's own code, it is as if it were not there.
        bare.db.session.execute(sa.update(bare.model).values(settings={"canary": 3}))
        bare.db.session.commit()
    assert bare.put(START).status_code == 200
    assert len(bare.claim(limit=20)) == 11


def test_the_console_says_how_it_went(runner):
    start(runner)
    for run in runner.claim(limit=20):
        runner.end(run)
    assert "Canary: 3 of 3 ended, 0 failed." in runner.client.get("/backfills/6").text
