"""Runs that end between two statements of a request: an end needs no lock of the backfill's."""

import threading

import pytest
import sqlalchemy as sa
from conftest import Host
from conftest import LIST

pytestmark = pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)

DAYS = {"start_datetime": "2023-03-01", "end_datetime": "2023-03-03", "interval_type": "day"}
DAYS |= {"interval_units": 1, "status": "initial"}

#: More statements than any of these requests has.
MANY = 40


def made_again(host, url):
    runs = {"runs": {"status": "initial"}}
    return host.client.put(f"{url}/runs?status=completed", json=runs)


def failed_again(host, url):
    return host.client.put(f"{url}/runs?status=failed", json={"runs": {"status": "initial"}})


def the_last_again(host, url):
    last = host.client.get(f"{url}/runs").json["runs"][-1]["id"]
    return host.client.put(f"{url}/runs/{last}", json={"run": {"status": "initial"}})


def with_longer_intervals(host, url):
    return host.client.put(url, json={"backfill": {"interval_units": 2}})


def shortened(host, url):
    return host.client.put(url, json={"backfill": {"end_datetime": "2023-03-02"}})


def with_a_window_of_what_is_done(host, url):
    change = {"end_datetime": "2023-03-02", "settings": {"max_failures": 9}}
    return host.client.put(url, json={"backfill": change})


def cancelled_and_started(host, url):
    host.client.put(url, json={"backfill": {"status": "cancelled"}})
    again = {"status": "initial", "settings": {"reprocess": "all"}}
    return host.client.put(url, json={"backfill": again})


@pytest.fixture
def host(database_url):
    host = Host(database_url)
    host.serve(run_model=host.run_model())
    # What nobody is at waits for longer than any test.
    host.app.config["BACKFILLS_LEASE"] = 3600
    yield host
    host.close()


@pytest.mark.parametrize("status", ["completed", "failed"])
@pytest.mark.parametrize(
    "ask",
    [
        made_again,
        failed_again,
        the_last_again,
        with_longer_intervals,
        shortened,
        with_a_window_of_what_is_done,
        cancelled_and_started,
    ],
)
def test_a_run_may_end_after_any_statement_of_a_request(host, ask, status):
    told = []
    host.blueprint.runner(lambda run: {"rows": 10})
    here = threading.current_thread()
    left = []

    def end(connection, cursor, statement, *rest):
        if threading.current_thread() is not here or not left:
            return
        left[0] -= 1
        if left[0] == 0:
            run = left[1]

            def finish():
                with host.app.app_context():
                    metrics = {"rows": 10} if status == "completed" else {}
                    told.append(host.blueprint.runs.finish(run, status, metrics, later=True))

            # It may have to wait for the request: what the request has locked is decided.
            left.append(threading.Thread(target=finish))
            left[2].start()
            left[2].join(0.2)

    with host.app.app_context():
        sa.event.listen(host.db.engine, "after_cursor_execute", end)
    for after in range(1, MANY):
        made = host.client.post(LIST, json={"backfill": DAYS}).json["backfill"]
        url = f"{LIST}/{made['id']}"
        with host.app.app_context():
            first, second, third = host.blueprint.runs.claim(made["id"], limit=3)
            for one in (first, second):
                assert host.blueprint.runs.finish(one, "completed", {"rows": 10})
        left[:] = [after, third]
        answer = ask(host, url)
        assert answer.status_code in (200, 409), (after, answer.text)
        has_ended = len(left) > 2
        if has_ended:
            left[2].join()
        left.clear()
        with host.app.app_context():
            if not has_ended:
                host.blueprint.runs.finish(third, status, {}, later=True)
            # As the next look of its worker.
            host.blueprint.runs.upkeep.roll_up(made["id"])
        host.work()
        shown = host.client.get(url).json["backfill"]
        model = host.blueprint.run_model
        query = sa.select(model.status, model.metrics, model.heartbeat_at)
        with host.app.app_context():
            rows = host.db.session.execute(query.where(model.backfill_id == made["id"])).all()
        assert shown["status"] in ("completed", "failed"), (after, shown, rows)
        assert {row.heartbeat_at for row in rows} == {None}, (after, rows)
        assert {row.status for row in rows} <= {"completed", "failed", "cancelled"}, (after, rows)
        rows_of = [row.metrics["rows"] for row in rows if row.metrics]
        assert (shown["metrics"] or {}).get("rows", 0) == sum(rows_of), (after, shown, rows)
        if not has_ended:
            break
    else:
        pytest.fail("there was always another statement")
    assert after > 3
