"""What a backfill leaves out that another has completed, where its settings say so."""

import pytest
import sqlalchemy as sa
from conftest import LIST

SKIP = {"settings": {"skip_covered": True}}
DAYS = {"interval_type": "day", "interval_units": 1}


def july(first, last, **values):
    window = {"start_datetime": f"2023-07-{first:02}", "end_datetime": f"2023-07-{last:02}"}
    return {**window, **DAYS, **values}


def start(host, first, last, url=LIST, **values):
    """Start a backfill of some days of July: its path, and its key."""
    answer = host.post(july(first, last, status="initial", **values), url)
    assert answer.status_code == 201, answer.text
    key = answer.json["backfill"]["id"]
    return f"{url}/{key}", key


def done(host, *args, fails=(), **values):
    """The same, done but for the days that fail."""
    url, key = start(host, *args, **values)
    for run in host.claim(key, limit=1000):
        day = run.execution_date.day
        assert host.end(run, "failed" if day in fails else "completed")
    return url, key


def planned(answer):
    assert answer.status_code in (200, 201), answer.text
    plan = answer.json["metadata"]["plan"]
    return {
        action: plan[action] for action in ("keep", "add", "drop", "redo", "skip") if plan[action]
    }


def days(host, url, *statuses):
    """The days of July that have runs with one of some statuses."""
    return [
        int(run["key"][8:10]) for run in host.rows(url) if run["status"] in statuses or not statuses
    ]


def test_days_that_another_backfill_has_completed_are_left_out(runner):
    _, one = done(runner, 1, 3, fails=[2])
    _, two = done(runner, 5, 6)
    sent = july(1, 7, status="initial", **SKIP)
    would = runner.post(sent, f"{LIST}?dry_run=true")
    assert planned(would) == {"add": 3, "skip": 4}
    entries = would.json["metadata"]["plan"]["entries"]
    assert [(e["action"], e["reason"]) for e in entries] == [
        ("skip", f"Completed in backfill {one}."),
        ("add", "Not planned before."),
        ("skip", f"Completed in backfill {one}."),
        ("add", "Not planned before."),
        ("skip", f"Completed in backfill {two}."),
        ("skip", f"Completed in backfill {two}."),
        ("add", "Not planned before."),
    ]
    assert would.json["metadata"]["count"] == 7
    plan_hash = would.json["metadata"]["plan"]["hash"]
    made = runner.post(sent, headers={"If-Plan-Match": plan_hash})
    assert planned(made) == {"add": 3, "skip": 4}
    url = f"{LIST}/{made.json['backfill']['id']}"
    assert days(runner, url) == [2, 4, 7]
    for run in runner.claim(made.json["backfill"]["id"], limit=7):
        runner.end(run)
    assert runner.get(url)["status"] == "completed"


def test_another_plan_is_refused_once_more_is_completed(runner):
    done(runner, 1, 3)
    sent = july(1, 7, status="initial", **SKIP)
    plan_hash = runner.post(sent, f"{LIST}?dry_run=true").json["metadata"]["plan"]["hash"]
    done(runner, 5, 5)
    answer = runner.post(sent, headers={"If-Plan-Match": plan_hash})
    assert answer.status_code == 412
    assert answer.json["metadata"]["plan"]["skip"] == 4


def test_runs_of_one_backfill_may_cover_a_day_together_and_of_two_not(runner):
    hours = {"interval_type": "hour", "interval_units": 12}
    _, halves = done(runner, 1, 3, **hours)
    # Of the third, its first half; another has the second half.
    done(runner, 3, 3, start_datetime="2023-07-03T12:00", end_datetime="2023-07-03T12:00", **hours)
    made = runner.post(july(1, 3, **SKIP, status="initial"), f"{LIST}?dry_run=true")
    told = [(e["action"], e["reason"]) for e in made.json["metadata"]["plan"]["entries"]]
    reason = f"Completed in backfill {halves}."
    assert told == [("skip", reason), ("skip", reason), ("add", "Not planned before.")]


def test_where_everything_is_covered_a_start_is_a_conflict(runner):
    done(runner, 1, 3)
    answer = runner.post(july(1, 3, status="initial", **SKIP))
    assert answer.status_code == 409
    assert answer.json["error"]["message"].startswith(
        "No run would start: 3 completed in other backfills. To run them again, start with"
        " settings.skip_covered = false."
    )
    url, _ = done(runner, 3, 4, **SKIP)
    answer = runner.put({"status": "initial"}, url)
    assert answer.status_code == 409
    told = "No run would start: 1 completed in other backfills, 1 completed. To run them again,"
    told += ' start with settings.skip_covered = false and settings.reprocess = "all".'
    assert answer.json["error"]["message"].startswith(told)
    assert days(runner, url) == [4]


def test_what_is_completed_elsewhere_meanwhile_is_dropped_at_the_next_plan(runner):
    url, key = start(runner, 1, 4, **SKIP)
    [run] = runner.claim(key)
    done(runner, 1, 3)
    answer = runner.put({"variables": {"depth": 5}}, url)
    # The first is running, and stays.
    assert planned(answer) == {"keep": 2, "drop": 2}
    assert days(runner, url) == [1, 4]
    assert runner.end(run)
    assert planned(runner.put({"end_datetime": "2023-07-05"}, url)) == {
        "skip": 2,
        "keep": 2,
        "add": 1,
    }
    assert days(runner, url, "completed") == [1]


def test_a_failed_run_that_another_backfill_has_done_fails_nothing(runner):
    url, key = done(runner, 1, 3, fails=[1, 2], **SKIP)
    assert runner.get(url)["status"] == "failed"
    done(runner, 1, 1)
    answer = runner.put({"status": "initial"}, url)
    assert planned(answer) == {"skip": 1, "redo": 1, "keep": 1}
    [run] = runner.claim(key)
    assert run.execution_date.day == 2 and runner.end(run)
    assert runner.get(url)["status"] == "completed"


def test_the_setting_is_live(runner):
    done(runner, 1, 2)
    url, _ = start(runner, 1, 4)
    assert planned(runner.put(SKIP, url)) == {"drop": 2, "keep": 2}
    assert days(runner, url) == [3, 4]
    answer = runner.put({"settings": {"priority": 3, "skip_covered": True}}, url)
    assert "metadata" not in answer.json
    assert planned(runner.put({"settings": {"priority": 3}}, url)) == {"add": 2, "keep": 2}
    assert days(runner, url) == [1, 2, 3, 4]


def test_what_another_pipeline_or_the_backfill_itself_has_done_does_not_count(runner):
    done(runner, 1, 3, "/api/pipelines/arwen_Starlight/backfills")
    url, _ = done(runner, 2, 3, fails=[3], **SKIP)
    answer = runner.put({"start_datetime": "2023-07-01", "status": "initial"}, url)
    assert planned(answer) == {"add": 1, "keep": 1, "redo": 1}


def test_what_a_scope_hides_does_not_count(bare):
    model = bare.mixin_model()

    def scope(query):
        return query.where(sa.or_(model.name.is_(None), model.name != "theirs"))

    bare.serve(model, run_model=bare.run_model(), scope=scope)
    _, key = done(bare, 1, 3)
    with bare.app.app_context():
        bare.db.session.execute(sa.update(model).where(model.id == key).values(name="theirs"))
        bare.db.session.commit()
    assert planned(bare.post(july(1, 3, status="initial", **SKIP))) == {"add": 3}


@pytest.mark.parametrize("value", ["yes", 1, "true"])
def test_the_setting_is_true_or_false(runner, value):
    answer = runner.post(july(1, 3, settings={"skip_covered": value}))
    assert answer.status_code == 422
    told = {"settings": {"skip_covered": ["Must be true or false."]}}
    assert answer.json["error"]["errors"] == told


def test_it_costs_one_statement_and_nothing_where_it_is_off(runner):
    done(runner, 1, 2)

    def cost(**values):
        runner.statements.clear()
        assert runner.post(july(1, 4, status="initial", **values)).status_code == 201
        return len(runner.statements)

    plain = cost()
    assert cost(settings={"skip_covered": False}) == plain
    assert cost(**SKIP) == plain + 1


def test_generators_give_runs_that_are_never_skipped(runner):
    done(runner, 1, 3)

    @runner.blueprint.generator("each")
    def each(backfill):
        return [{"execution_date": "2023-07-01"}, {"execution_date": "2023-07-02"}]

    made = runner.post({"block_uuid": "each", "status": "initial", **SKIP})
    assert planned(made) == {"add": 2}


def test_a_run_model_without_intervals_can_not_skip(bare):
    class Run(bare.db.Model):
        __tablename__ = "backfill_run"
        id = sa.Column(sa.Integer, primary_key=True)
        backfill_id = sa.Column(sa.Integer)
        key = sa.Column(sa.String(255))
        execution_date = sa.Column(sa.DateTime)
        status = sa.Column(sa.String(16))

    bare.serve(run_model=Run)
    answer = bare.post(july(1, 3, status="initial", **SKIP))
    assert answer.status_code == 422
    told = ["Needs the column interval_end_datetime in the model of runs."]
    assert answer.json["error"]["errors"] == {"settings": {"skip_covered": told}}
    assert planned(bare.post(july(1, 3, status="initial"))) == {"add": 3}


def test_explain_says_who_has_completed_it(runner):
    _, one = done(runner, 1, 3, fails=[2])
    url, _ = start(runner, 1, 7, **SKIP)

    def why(day):
        found = runner.read(f"{url}/explain?date=2023-07-0{day}")["explain"]["why"]
        return {reason["code"]: reason["message"] for reason in found}

    assert why(3) == {"covered": f"Skipped: completed in backfill {one}."}
    assert why(1).keys() == {"covered"} and "covered" not in why(2)
    runner.put({"settings": {}}, url)
    assert "covered" not in why(3)


def test_who_may_not_list_is_not_told_which_backfill_it_was(bare):
    allowed = {"list", "create", "detail", "update"}
    bare.serve(authorize=lambda action, pipeline: action in allowed, run_model=bare.run_model())
    done(bare, 1, 3)
    url = bare.post(july(1, 4, status="initial", **SKIP)).headers["Location"]
    allowed.remove("list")
    would = bare.put({"end_datetime": "2023-07-05"}, f"{url}?dry_run=true")
    told = [e["reason"] for e in would.json["metadata"]["plan"]["entries"]]
    assert told[:3] == ["Completed in another backfill."] * 3
    [why] = bare.read(f"{url}/explain?date=2023-07-02")["explain"]["why"]
    assert why["message"] == "Skipped: completed in another backfill."
