"""What the OpenAPI document says about each attribute, setting, parameter and operation."""

from __future__ import annotations

import typing as t

#: A description, and an example.
Told = tuple[str, t.Any]

ABOUT = (
    "Every answer of 200 or 201 means that all that was sent is stored; with `dry_run`, that it"
    " would be. Any other answer means that nothing changed; `error.errors` gives the reasons by"
    " key.\n\n"
    "Datetimes are shown in UTC, as `2023-07-18 23:30:26`, with a fraction of a second where there"
    " is one. One that is sent without an offset is in UTC.\n\n"
    "What Mage's own clients send with every request is let through on every path, and is never"
    " stored: the query parameters `api_key`, `oauth_token` and `_http_error_codes`, and the keys"
    " `api_key` and `oauth_token` beside `backfill` in a body."
)

TAGS = {
    "backfills": "Requests to run a pipeline again over a past window of time.",
    "coverage": "What the backfills of a pipeline have completed of a span of time.",
    "history": "What was changed of a backfill, from what to what, by whom.",
    "runs": "The runs of a backfill: one for each date of its window.",
}

ATTRIBUTES: dict[str, Told] = {
    "id": ("Identifies the backfill. Null only in the answer to a create with `dry_run`.", 6),
    "block_uuid": (
        "The name of the generator that gives the runs. Null if the window gives them.",
        "by_region",
    ),
    "completed_at": ("When the backfill completed, in UTC.", "2023-07-18 23:48:40"),
    "created_at": ("When the backfill was stored, in UTC.", "2023-07-18 23:30:26"),
    "end_datetime": (
        "The end of the window, in UTC. Must not be before `start_datetime`.",
        "2023-07-18 23:56:05",
    ),
    "failed_at": ("When the backfill failed, in UTC.", "2023-07-18 23:48:40"),
    "interval_type": (
        "The unit of the steps from run to run. Days and longer units are counted in the time"
        " zone {zone}, minutes and hours are elapsed time.",
        "day",
    ),
    "interval_units": ("How many of `interval_type` one step has. A whole number, at least 1.", 1),
    "metrics": ("The sums of what the runs have returned.", {"rows": 24}),
    "name": ("A name for people.", "new_name"),
    "pipeline_schedule_id": ("A schedule that the backfill belongs to. Is stored as it is.", 3),
    "pipeline_uuid": ("The pipeline that is run again.", "arwen_starlight"),
    "settings": ("How the runs are handed out. Replaced as a whole.", {"pipeline_run_limit": 4}),
    "start_datetime": (
        "The start of the window, and the date of the first run, in UTC.",
        "2023-07-17 23:56:05",
    ),
    "started_at": ("When the backfill was started last, in UTC.", "2023-07-18 23:31:57"),
    "status": (
        "Null before the first start. Write `initial` to start, and `cancelled` to cancel.",
        "initial",
    ),
    "updated_at": ("When the backfill was changed last, in UTC.", "2023-07-18 23:31:57"),
    "variables": ("Variables that each run gets. Replaced as a whole.", {"region": "north"}),
    "total_run_count": (
        "The number of dates in the window; null if it is not known. Only where it was asked for.",
        31,
    ),
    "run_status_counts": (
        "The number of runs by status. Only where it was asked for.",
        {"completed": 30, "failed": 1},
    ),
    "forecast": (
        "How long the runs that wait or run will take. Only where it was asked for.",
        {
            "runs": 31,
            "at_once": 4,
            "seconds": {"p50": 840.0, "p90": 1020.0},
            "finish": {"p50": "2023-07-01 00:14:00", "p90": "2023-07-01 00:17:00"},
            "based_on": 120,
        },
    ),
    "pipeline_run_dates": (
        "The variables of each run, one page of them. Only where it was asked for.",
        [{"ds": "2023-07-17", "hr": "23"}],
    ),
}

#: Of what may be sent, and is not stored.
LEFT_ALONE = "May be sent back, as a GET has added it, and is left alone."
ONLY_BACK = "Null may be sent back where it is null already, and nowhere else."
CREDENTIAL = "A credential, as Mage's own web interface sends it. Is let through, and never stored."

RUN_ATTRIBUTES: dict[str, Told] = {
    "id": ("Identifies the run.", 12),
    "attempt": ("How often the run was handed out to a worker, at least 1.", 1),
    "backfill_id": ("The backfill of the run.", 6),
    "completed_at": ("When the run ended, in UTC.", "2023-07-18 23:31:04"),
    "error": ("Why the run failed.", "ValueError: no reading at 12:00"),
    "execution_date": ("The start of the run's interval, in UTC.", "2023-07-17 23:56:05"),
    "interval_end_datetime": ("The end of the run's interval, in UTC.", "2023-07-18 23:56:05"),
    "key": ("Identifies the run within its backfill.", "2023-07-17T23:56:05"),
    "pipeline_uuid": ("The pipeline of the backfill.", "arwen_starlight"),
    "started_at": ("When a worker began the run, in UTC.", "2023-07-18 23:31:01"),
    "status": ("`initial` is a run that waits for a worker.", "completed"),
    "variables": ("What the run gets.", {"ds": "2023-07-17", "hr": "23"}),
}

EVENT_ATTRIBUTES: dict[str, Told] = {
    "id": ("Identifies the event.", 31),
    "action": (
        "What was done. `begin`, `finish`, `reopen` and `pause` are what follows for the backfill"
        " from its runs.",
        "update",
    ),
    "actor": ("Who it was, if that is known.", "ann"),
    "backfill_id": ("The backfill.", 6),
    "changes": (
        "What was changed, by attribute: of the backfill, or of runs if `run_count` is set.",
        {"name": {"from": "old_name", "to": "new_name"}},
    ),
    "created_at": ("When it was, in UTC.", "2023-07-18 23:31:57"),
    "pipeline_uuid": ("The pipeline of the backfill.", "arwen_starlight"),
    "run_count": ("How many runs were changed.", 1),
    "run_key": ("The key of the run, if it was one.", "2023-07-17T23:56:05"),
}

#: What one run shows, and a list of runs leaves out.
WHOLE_RUN: dict[str, Told] = {
    "metrics": ("What the run has returned.", {"rows": 24}),
    "worker": ("Who executed the run last.", "batch-1:4711"),
}

#: The settings that decide something; other keys are stored as they are.
SETTINGS: dict[str, Told] = {
    "canary": (
        "After a start, so many telling runs are done first. Then the backfill pauses itself."
        " Default: none.",
        3,
    ),
    "max_attempts": ("How often a run is tried that raises an error. Default: 1.", 3),
    "max_failures": (
        "After so many failed runs no more runs start, and the backfill fails. Default: no limit.",
        10,
    ),
    "only_ended": (
        "Whether a run waits until its interval has ended. Default: false.",
        True,
    ),
    "order": ("By date, the first or the last run starts first. Default: forwards.", "backwards"),
    "paused": ("Whether no more runs start. Runs that are running go on. Default: false.", True),
    "pipeline_run_limit": ("How many runs are running at a time. Default: no limit.", 4),
    "priority": ("The backfill with the highest priority comes first. Default: 0.", 5),
    "reprocess": ("Which ended runs a start runs again. Default: failed.", "all"),
    "retry_delay": (
        "Seconds before the second attempt of a run; doubled each time, up to an hour."
        " Default: 30.",
        60,
    ),
    "run_timeout": ("Seconds after which a run has failed. Default: no limit.", 900),
    "skip_covered": (
        "Whether runs are left out that another backfill of the pipeline has completed."
        " Default: false.",
        True,
    ),
}

PARAMETERS = {
    "pipeline_uuid": "The pipeline of the backfills.",
    "backfill_id": "The id of the backfill.",
    "Idempotency-Key": "A text of your own for this request. If the same body was sent with it"
    " before, the answer has the backfill that was made then, and nothing is stored. Another body"
    " is refused. A dry run does not use it.",
    "If-Match": "The ETag of the version to change. If there is a newer one, the answer is 412.",
    "If-Plan-Match": "The hash of a plan that was previewed. If the plan of the runs would be"
    " another one, the answer is 412, and nothing changes.",
    "_limit": "How many to show, from 1 to 100.",
    "_offset": "How many to skip.",
    "dry_run": "Whether to check everything, show what would be, and store nothing.",
    "start_datetime": "The start of the span. Without an offset it is in UTC.",
    "end_datetime": "The end of the span, which is not a part of it. Without an offset it is in"
    " UTC. Must be after `start_datetime`.",
    "at_once": "How many runs at once the forecast supposes, from 1 to 1000. Without it, as many"
    " as the settings allow or as ran at once lately. A GET with it has a `forecast`.",
    "include_forecast": "Whether to add `forecast`.",
    "include_run_count": "Whether to add `total_run_count` and `run_status_counts`.",
    "include_preview_runs": "Whether to add `pipeline_run_dates`, one page of them, and the counts.",
    "key": "The key of the run to explain. Without it, and without a date, the whole backfill is.",
    "date": "The date of the run to explain, whether there is one or not. Without an offset it is"
    " in UTC. Not together with `key`.",
    "run_id": "The id of the run.",
    "status": "Only those with this status.",
}

_CHANGE = (
    "The keys that are sent are written, the others stay. An unknown key is refused. A value may"
    " be sent back as it was shown, and so may what a GET adds (`total_run_count`,"
    " `run_status_counts`, `pipeline_run_dates`, `forecast`), which is left alone. Whole numbers"
    " may also be sent as text of digits. PUT and PATCH mean the same."
)

_RUN_CHANGE = (
    "`initial` lets a run wait that has failed, was cancelled or is completed. `cancelled` ends one"
    " that waits or is running. `completed` marks one as done that waits, has failed or was"
    " cancelled. Anything else is a 409. The status of the backfill follows: it is active again"
    " when a run waits, and a failed one without failed runs is completed."
)

_RUNS_CHANGE = (
    f"{_RUN_CHANGE} `metadata.count` says how many were changed. With `dry_run`, it says how many"
    " would be."
)

#: By the operation's id without ``_by_id``: a summary, and a description.
OPERATIONS = {
    "list_backfills": ("List the backfills of a pipeline", "Newest first, one page of them."),
    "list_backfills_of_pipeline": (
        "List the backfills of the pipeline in the query",
        "The same as `list_backfills`, on a path without a pipeline.",
    ),
    "create_backfill": (
        "Create a backfill",
        "With the status `initial`, it is started at once. The header `Location` has its path.",
    ),
    "get_backfill": ("Read a backfill", "The header `ETag` names the version."),
    "update_backfill": ("Change a backfill", _CHANGE),
    "patch_backfill": ("Change a backfill with PATCH", _CHANGE),
    "delete_backfill": (
        "Delete a backfill and its runs",
        "The answer shows what was deleted. Cancel it first if it has waiting or running runs.",
    ),
    "explain_backfill": (
        "Say why nothing moves, or what moves",
        "The reasons of the backfill, or of one of its runs: why it waits, was dropped, ended so,"
        " or is not there. Each has a stable code, and says what would change it.",
    ),
    "get_coverage": (
        "Read what the backfills of a pipeline cover",
        "Which parts of a span are completed, running, failed or missing, over all backfills of"
        " the pipeline. Each list is ordered by time and cut to the page.",
    ),
    "get_history": (
        "Read the history of a backfill",
        "Newest first, one page of them. Each change is one event.",
    ),
    "list_runs": (
        "List the runs of a backfill",
        "Ordered by date, one page of them. Includes runs that are no longer wanted.",
    ),
    "get_run": ("Read one run", "With its whole error, its metrics and its worker."),
    "update_run": ("Try one run again, cancel it, or mark it as done", _RUN_CHANGE),
    "patch_run": ("The same for one run, with PATCH", _RUN_CHANGE),
    "update_runs": ("The same for all runs that have a status", _RUNS_CHANGE),
    "patch_runs": ("The same for all runs that have a status, with PATCH", _RUNS_CHANGE),
}

#: The headers of answers.
HEADERS = {
    "ETag": "Names the version of the backfill, for If-Match. Not in a dry run.",
    "Location": "The path of the new backfill. Not in a dry run.",
    "Retry-After": "The seconds after which to try again.",
}

#: The refusals, by HTTP status.
REFUSALS = {
    "400": "The body is not valid JSON, repeats a key, or has no backfill object",
    "401": "Credentials are missing or wrong",
    "403": "Not allowed",
    "404": "The pipeline has no such backfill, or the backfill no such run",
    "409": "The state of the backfill or a database constraint does not allow this",
    "412": "If-Match or If-Plan-Match does not match",
    "413": "The body is too large",
    "415": "The body is not application/json, or is compressed",
    "422": "Some values are not valid; errors has the reasons by key",
    "503": "The database is locked or can't be reached",
}

#: The request of the "Update backfill" page in Mage's documentation.
PAGE = {
    "start_datetime": "2023-07-17 23:56:05",
    "end_datetime": "2023-07-18 23:56:05",
    "name": "new_name",
}
