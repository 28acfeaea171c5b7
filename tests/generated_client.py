"""Drives a running quickstart with the client that openapi-python-client made of its document.

``.ci/clients`` generates the package ``backfills_client`` and runs this beside the server.
"""

import sys
from datetime import datetime
from pathlib import Path

import backfills_client
from backfills_client import Client
from backfills_client.api.backfills import create_backfill
from backfills_client.api.backfills import delete_backfill
from backfills_client.api.backfills import delete_backfill_by_id
from backfills_client.api.backfills import explain_backfill
from backfills_client.api.backfills import explain_backfill_by_id
from backfills_client.api.backfills import get_backfill
from backfills_client.api.backfills import get_backfill_by_id
from backfills_client.api.backfills import list_backfills
from backfills_client.api.backfills import list_backfills_of_pipeline
from backfills_client.api.backfills import patch_backfill
from backfills_client.api.backfills import patch_backfill_by_id
from backfills_client.api.backfills import update_backfill
from backfills_client.api.backfills import update_backfill_by_id
from backfills_client.api.coverage import get_coverage
from backfills_client.api.history import get_history
from backfills_client.api.history import get_history_by_id
from backfills_client.api.runs import get_run
from backfills_client.api.runs import get_run_by_id
from backfills_client.api.runs import list_runs
from backfills_client.api.runs import list_runs_by_id
from backfills_client.api.runs import update_run
from backfills_client.api.runs import update_runs
from backfills_client.models import BackfillAnswer
from backfills_client.models import BackfillCreate
from backfills_client.models import BackfillCreateBody
from backfills_client.models import BackfillList
from backfills_client.models import BackfillSaved
from backfills_client.models import BackfillUpdate
from backfills_client.models import BackfillUpdateBody
from backfills_client.models import CoverageAnswer
from backfills_client.models import Error
from backfills_client.models import EventAction
from backfills_client.models import ExplainAnswer
from backfills_client.models import History
from backfills_client.models import IntervalType
from backfills_client.models import NextStatus
from backfills_client.models import Order
from backfills_client.models import PlanAction
from backfills_client.models import RunAnswer
from backfills_client.models import RunList
from backfills_client.models import RunsAnswer
from backfills_client.models import RunsUpdateBody
from backfills_client.models import RunUpdate
from backfills_client.models import RunUpdateBody
from backfills_client.models import Settings
from backfills_client.models import Status
from backfills_client.models import Variables

PIPELINE = "weather"
#: Every class that the generator may make: another name is one that it had to invent.
MODELS = """
Backfill BackfillAnswer BackfillCreate BackfillCreateBody BackfillList BackfillSaved BackfillUpdate
BackfillUpdateBody Change ChangeSizes Changes Coverage CoverageAnswer CoverageCounts
CoverageMetadata CoveragePiece Error ErrorDetails ErrorMetadata ErrorReasons Event EventAction
Explain ExplainAnswer Forecast ForecastFinish ForecastSeconds History IntervalType Metrics
NextStatus Order Page Plan PlanAction PlanEntry PlanMetadata Reason Reprocess Run RunAnswer RunList
RunMetrics RunStatusCounts RunUpdate
RunUpdateBody RunsAnswer RunsMetadata RunsUpdateBody Settings Status Variables WholeRun
""".split()


def check_names() -> None:
    made = set(backfills_client.models.__all__)
    assert made == set(MODELS), f"invented: {made - set(MODELS)}, missing: {set(MODELS) - made}"
    package = Path(backfills_client.__file__).parent
    functions = {file.stem for file in (package / "api").glob("*/*.py")} - {"__init__"}
    one = {f"{verb}_backfill" for verb in ("get", "update", "patch", "delete", "explain")}
    one |= {"list_runs"}
    one |= {f"{verb}_run" for verb in ("get", "update", "patch")} | {"update_runs", "patch_runs"}
    one |= {"get_history"}
    flat = {f"{name}_by_id" for name in one} | {"list_backfills_of_pipeline"}
    assert functions == one | flat | {"list_backfills", "create_backfill", "get_coverage"}, sorted(
        functions
    )


def saved(answer: BackfillSaved | Error | None) -> BackfillSaved:
    assert isinstance(answer, BackfillSaved), answer
    return answer


def drive(client: Client) -> None:
    # Create
    new = BackfillCreate(
        name="June",
        start_datetime=datetime(2023, 6, 1),
        end_datetime="2023-06-03 00:00:00",
        interval_type=IntervalType.DAY,
        interval_units=1,
        settings=Settings(pipeline_run_limit=2, order=Order.BACKWARDS),
        variables=Variables.from_dict({"seconds": 0}),
    )
    body = BackfillCreateBody(backfill=new)
    made = saved(create_backfill.sync(PIPELINE, client=client, body=body)).backfill
    assert made.id is not None and made.start_datetime == "2023-06-01 00:00:00", made
    assert made.interval_type is IntervalType.DAY and made.status is None, made
    ids = PIPELINE, made.id

    # Preview
    start = BackfillUpdateBody(backfill=BackfillUpdate(status=Status.INITIAL))
    seen = saved(update_backfill.sync(*ids, client=client, body=start, dry_run=True)).metadata
    assert seen and seen.plan.add == 3, seen
    assert isinstance(seen.plan.entries, list), seen
    assert [entry.action for entry in seen.plan.entries] == [PlanAction.ADD] * 3, seen

    # Update: what was read may be sent back, with one value changed.
    read = get_backfill.sync(*ids, client=client, include_run_count=True, include_preview_runs=True)
    assert isinstance(read, BackfillAnswer) and read.backfill.total_run_count == 3, read
    dates = read.backfill.pipeline_run_dates
    assert isinstance(dates, list) and dates[-1]["ds"] == "2023-06-03", read
    edit = BackfillUpdate.from_dict({**read.backfill.to_dict(), "name": "Early June"})
    changed = update_backfill.sync(*ids, client=client, body=BackfillUpdateBody(backfill=edit))
    assert saved(changed).backfill.name == "Early June", changed
    wrong = BackfillUpdateBody(backfill=BackfillUpdate(end_datetime="2023-05-01"))
    refused = update_backfill.sync(*ids, client=client, body=wrong)
    assert isinstance(refused, Error) and refused.error.code == 422, refused
    assert "end_datetime" in refused.error.errors, refused

    # Start
    started = update_backfill.sync(*ids, client=client, body=start, if_plan_match=seen.plan.hash_)
    assert saved(started).backfill.status is Status.INITIAL, started

    # Runs
    runs = list_runs.sync(*ids, client=client, status=Status.INITIAL)
    assert isinstance(runs, RunList) and runs.metadata.count == 3, runs
    assert [run.key[:10] for run in runs.runs] == ["2023-06-01", "2023-06-02", "2023-06-03"], runs
    assert list_runs_by_id.sync(made.id, client=client) == runs

    # One run, and all that have a status
    first = runs.runs[0].id
    done = RunUpdateBody(run=RunUpdate(status=NextStatus.COMPLETED))
    changed_run = update_run.sync(*ids, first, client=client, body=done)
    assert isinstance(changed_run, RunAnswer) and changed_run.run.status is Status.COMPLETED
    assert get_run.sync(*ids, first, client=client) == changed_run
    assert get_run_by_id.sync(made.id, first, client=client) == changed_run
    again = RunsUpdateBody(runs=RunUpdate(status=NextStatus.INITIAL))
    status = Status.COMPLETED
    told = update_runs.sync(*ids, client=client, body=again, status=status, dry_run=True)
    assert isinstance(told, RunsAnswer) and told.metadata.count == 1, told

    # Explain
    why = explain_backfill.sync(*ids, client=client)
    assert isinstance(why, ExplainAnswer) and why.explain.why[0].message, why
    assert explain_backfill_by_id.sync(made.id, client=client) == why
    outside = explain_backfill.sync(*ids, client=client, date="2023-05-31")
    assert isinstance(outside, ExplainAnswer), outside
    assert outside.explain.why[0].code == "before_start", outside

    # Coverage
    known = get_coverage.sync(
        PIPELINE, client=client, start_datetime="2023-06-01", end_datetime="2023-06-04"
    )
    assert isinstance(known, CoverageAnswer) and known.coverage.share == 0.3333, known
    assert [piece.backfills for piece in known.coverage.covered] == [[made.id]], known
    assert [piece.backfills for piece in known.coverage.gaps] == [[]], known

    # History
    past = get_history.sync(*ids, client=client, page_limit=1)
    assert isinstance(past, History) and past.metadata.count > 3, past
    assert past.history[0].action is EventAction.UPDATE_RUN, past
    [change] = past.history[0].changes.additional_properties.values()
    assert (change.from_, change.to) == ("initial", "completed"), past
    assert get_history_by_id.sync(made.id, client=client, page_limit=1) == past

    # Delete
    early = delete_backfill.sync(*ids, client=client)
    assert isinstance(early, Error) and early.error.code == 409, early
    cancel = BackfillUpdateBody(backfill=BackfillUpdate(status=Status.CANCELLED))
    assert saved(patch_backfill.sync(*ids, client=client, body=cancel))
    gone = delete_backfill.sync(*ids, client=client)
    assert isinstance(gone, BackfillAnswer) and gone.backfill.id == made.id, gone
    missing = get_backfill.sync(*ids, client=client)
    assert isinstance(missing, Error) and missing.error.code == 404, missing


def drive_flat_paths(client: Client) -> None:
    body = BackfillCreateBody(backfill=BackfillCreate(name="May"))
    made = saved(create_backfill.sync(PIPELINE, client=client, body=body)).backfill
    assert made.id is not None
    listed = list_backfills.sync(PIPELINE, client=client)
    assert isinstance(listed, BackfillList) and listed.backfills[0] == made, listed
    assert list_backfills_of_pipeline.sync(client=client, pipeline_uuid=PIPELINE) == listed
    rename = BackfillUpdateBody(backfill=BackfillUpdate(name="Late May"))
    for change in (update_backfill_by_id, patch_backfill_by_id):
        answer = change.sync(made.id, client=client, body=rename)
        assert saved(answer).backfill.name == "Late May", answer
    read = get_backfill_by_id.sync(made.id, client=client)
    assert isinstance(read, BackfillAnswer) and read.backfill.name == "Late May", read
    gone = delete_backfill_by_id.sync(made.id, client=client)
    assert isinstance(gone, BackfillAnswer), gone


if __name__ == "__main__":
    check_names()
    with Client(
        base_url=sys.argv[1],
        headers={"X-API-KEY": "demo-key"},
        cookies={"oauth_token": "demo-token"},
        raise_on_unexpected_status=True,
    ) as quickstart:
        drive(quickstart)
        drive_flat_paths(quickstart)
    print(f"{len(MODELS)} models, and every function was called")
