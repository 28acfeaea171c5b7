"""Celery without a broker: which app sends what, eager workers, and messages that come again."""

import pytest
from celery import Celery
from conftest import Host
from conftest import takes_seconds
from conftest import URL
from processes import begin

from flask_backfills.celery import CeleryDispatcher

pytestmark = takes_seconds

MINUTES = {"start_datetime": "2023-03-01", "interval_type": "minute", "interval_units": 1}


@pytest.fixture
def runner(own_runner):
    """A host of its own, since a dispatcher stays with its app."""
    return own_runner


def dispatch(host, monkeypatch, **conf):
    """A dispatcher of a host, and the ids that it sends."""
    celery_app = Celery("host", broker="memory://", set_as_current=False)
    celery_app.conf.update(conf)
    dispatcher = CeleryDispatcher(celery_app, host.blueprint)
    sent = []
    if not conf:
        send = lambda args, **options: sent.append(args[0])  # noqa: E731
        monkeypatch.setattr(dispatcher.run_task, "apply_async", send)
    return dispatcher, sent


def test_each_app_of_a_factory_sends_to_its_own_broker(tmp_path, monkeypatch):
    hosts = [Host(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "two")]
    for host in hosts:
        host.serve(run_model=host.run_model())
    (_, one), (_, two) = (dispatch(host, monkeypatch) for host in hosts)
    hosts[0].put({**MINUTES, "end_datetime": "2023-03-01T00:04", "status": "initial"})
    assert (len(one), two) == (5, [])
    for host in hosts:
        host.close()


def test_apps_that_share_their_models_send_to_their_own_brokers(runner, monkeypatch):
    other = Host.__new__(Host)
    other.app, other.db = type(runner.app)("other"), runner.db
    other.app.config.update(runner.app.config)
    model, run_model = runner.model, runner.blueprint.host.run_model
    runner.db.init_app(other.app)
    blueprint = type(runner.blueprint)(
        model, runner.db.session, authorize=lambda *args: True, run_model=run_model
    )
    other.app.register_blueprint(blueprint)
    other.blueprint, other.client = blueprint, other.app.test_client()
    (_, first), (_, second) = dispatch(runner, monkeypatch), dispatch(other, monkeypatch)
    runner.put({**MINUTES, "end_datetime": "2023-03-01T00:04", "status": "initial"})
    assert (len(first), second) == (5, [])
    assert other.put({"status": "cancelled"}).status_code == 200
    assert other.put({"status": "initial"}).status_code == 200
    assert (len(first), len(second)) == (5, 5)
    with other.app.app_context():
        other.db.session.remove()
        other.db.engine.dispose()


@takes_seconds
def test_an_eager_celery_does_any_number_of_runs(runner, monkeypatch):
    runner.blueprint.runner(lambda run: {"rows": 1})
    dispatch(runner, monkeypatch, task_always_eager=True)
    sent = {**MINUTES, "end_datetime": "2023-03-01T00:49", "settings": {"pipeline_run_limit": 1}}
    assert runner.put({**sent, "status": "initial"}).status_code == 200
    assert (runner.get()["status"], runner.get()["metrics"]) == ("completed", {"rows": 50})


@pytest.mark.parametrize("again", [True, False])
def test_a_message_that_comes_again_is_done_again_if_its_worker_died(
    runner, database_url, monkeypatch, again
):
    runner.blueprint.runner(lambda run: {"rows": 1})
    dispatcher, _ = dispatch(runner, monkeypatch)
    runner.put({**MINUTES, "end_datetime": "2023-03-01T00:00", "status": "initial"})
    [key] = runner.stored("id")
    with begin("die", database_url, URL) as worker:
        assert worker.stdout.readline()
        message = {"delivery_info": {"redelivered": again}}

        def deliver():
            dispatcher.run_task.push_request(**message)
            with runner.app.app_context():
                dispatcher.run_task.run(key)
            dispatcher.run_task.pop_request()
            return runner.stored("status", "attempt")

        # Its worker lives: a message that came twice does no harm.
        assert deliver() == [("running", 1)]
        worker.kill()
        worker.wait()
        assert deliver() == ([("completed", 2)] if again else [("running", 1)])
