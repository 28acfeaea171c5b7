"""Workers that are processes of their own, on each database."""

import json
from datetime import datetime
from datetime import timedelta

from conftest import often
from conftest import takes_seconds
from processes import begin

WINDOW = {"start_datetime": "2023-03-01", "interval_type": "minute", "interval_units": 1}


@takes_seconds
def test_each_run_goes_to_one_worker_while_the_backfill_is_edited(runner, database_url):
    # SQLite has one lock and no queue for it: they wait most of the time.
    total = often(400) if database_url.startswith("sqlite") else 500
    end = datetime(2023, 3, 1) + timedelta(minutes=total - 1)
    sent = {**WINDOW, "end_datetime": end.isoformat(), "status": "initial"}
    url = runner.post(sent).headers["Location"]
    begun = [begin(role, database_url, url) for role in ("work", "work", "edit")]
    told = []
    for process in begun:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        told.append(json.loads(out))
    one, two, edits = told
    assert one and two and edits >= 6
    assert len(one) + len(two) == len({*one, *two}) == total
    rows = runner.rows(url)
    assert {(row["status"], row["attempt"]) for row in rows} == {("completed", 1)}
    shown = runner.get(f"{url}?include_run_count=true")
    assert shown["status"] == "completed"
    assert shown["total_run_count"] == shown["metrics"]["runs"] == len(rows) == total
