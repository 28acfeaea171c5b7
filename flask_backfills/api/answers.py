"""The schemas of the OpenAPI document that no model decides: errors, pages, plans, forecasts."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable

from ..auth import CREDENTIALS
from ..rules.lifecycle import MADE_OF_RUNS
from ..rules.plan import ACTIONS
from .descriptions import CREDENTIAL
from .descriptions import WHOLE_RUN

Document = dict[str, t.Any]


def ref(component: str) -> Document:
    return {"$ref": f"#/components/schemas/{component}"}


def object_of(properties: Document, required: Iterable[str] = ()) -> Document:
    """An object with these properties and no others."""
    found: Document = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": [*required]} if required else found


def list_of(key: str, component: str) -> Document:
    """A page of a list."""
    items = {"type": "array", "items": ref(component)}
    return object_of({key: items, "metadata": ref("Page")}, [key, "metadata"])


def or_null(kind: Document, nullable: bool = True) -> Document:
    """A type with null added, so that generators make one type of it and not several."""
    if not nullable or not kind:
        return kind
    if "$ref" in kind:
        return {"anyOf": [kind, {"type": "null"}]}
    if "anyOf" in kind:
        return {**kind, "anyOf": [*kind["anyOf"], {"type": "null"}]}
    kinds = kind.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and "null" not in kinds:
        kind = {**kind, "type": [*kinds, "null"]}
    if None not in kind.get("enum", [None]):
        kind = {**kind, "enum": [*kind["enum"], None]}
    return kind


def errors(with_runs: bool) -> dict[str, Document]:
    """What an answer says that refuses a request."""
    planned: dict[str, Document] = {"plan": {"type": "null"}}
    if with_runs:
        planned = {"plan": or_null(ref("Plan")), **_ahead()}
    details = {
        "code": told({"type": "integer"}, "The HTTP status.", 422),
        "type": told({"type": "string"}, "One word for the kind of refusal.", "validation_error"),
        "message": told(
            {"type": "string"},
            "What was wrong, for people.",
            "Some keys or values are not valid. Nothing was changed.",
        ),
        "errors": ref("ErrorReasons"),
    }
    reasons = "The reasons by key: a list of texts, or an object with the reasons of its keys."
    return {
        "Error": object_of(
            {"error": ref("ErrorDetails"), "metadata": ref("ErrorMetadata")}, ["error"]
        ),
        "ErrorMetadata": object_of({**planned, **PAGE}, ["plan"]),
        "ErrorDetails": object_of(details, details),
        "ErrorReasons": {
            "type": "object",
            "description": reasons,
            "additionalProperties": True,
        },
    }


def page() -> Document:
    """What a list says about itself."""
    return object_of({**PAGE}, PAGE)


def examples(backfill: Document) -> dict[str, Document]:
    """An example of each body; of a backfill, this one."""
    run = {"status": "initial"}
    return {
        "BackfillCreateBody": {"backfill": backfill},
        "BackfillUpdateBody": {"backfill": backfill},
        "RunUpdateBody": {"run": run},
        "RunsUpdateBody": {"runs": run},
    }


def one_run(shown: Document) -> dict[str, Document]:
    """One run with what a list leaves out.

    :param shown: a run in a list.
    """
    kinds = {"metrics": ref("RunMetrics"), "worker": {"type": "string"}}
    more = {name: told(or_null(kind), *WHOLE_RUN[name]) for name, kind in kinds.items()}
    whole = object_of({**shown["properties"], **more}, [*shown["required"], *more])
    return {
        "RunMetrics": {"type": "object", "additionalProperties": True},
        "WholeRun": whole,
        "RunAnswer": object_of({"run": ref("WholeRun")}, ["run"]),
    }


def run_changes() -> dict[str, Document]:
    """What people may make of runs, and how many that were."""
    status = told(ref("NextStatus"), "What they become.", "initial")
    beside = {key: {"description": CREDENTIAL} for key in sorted(CREDENTIALS)}
    count = told({"type": "integer", "minimum": 0}, "How many runs were changed.", 35)
    return {
        "NextStatus": {"type": "string", "enum": [*MADE_OF_RUNS]},
        "RunUpdate": object_of({"status": status}, ["status"]),
        "RunUpdateBody": object_of({"run": ref("RunUpdate"), **beside}, ["run"]),
        "RunsUpdateBody": object_of({"runs": ref("RunUpdate"), **beside}, ["runs"]),
        "RunsMetadata": object_of({"count": count}, ["count"]),
        "RunsAnswer": object_of(
            {"runs": ref("RunUpdate"), "metadata": ref("RunsMetadata")}, ["runs", "metadata"]
        ),
    }


def _ahead() -> dict[str, Document]:
    """What a preview tells beside its plan."""
    return {"notes": _NOTES, "forecast": or_null(ref("Forecast"))}


def forecast(with_runs: bool) -> Document:
    """A forecast; where there are no runs, there is none."""
    return ref("Forecast") if with_runs else {"type": "null"}


def forecasts() -> dict[str, Document]:
    """What an answer says of how long runs take."""
    count: Document = {"type": "integer", "minimum": 0}
    seconds: Document = {"type": "number", "minimum": 0}
    moment: Document = {"type": "string"}
    unknown = "Null if it is not known, or if no run waits or runs"
    found = {
        "runs": told(count, "How many runs wait or run.", 31),
        "at_once": told(count, "How many of them run at once.", 4),
        "seconds": or_null(ref("ForecastSeconds"))
        | {"description": f"How long they take. {unknown}."},
        "finish": or_null(ref("ForecastFinish"))
        | {"description": f"When the last of them ends, in UTC. {unknown}, or while paused."},
        "based_on": told(count, "How many finished runs it is based on.", 120),
        "paused": told({"type": "boolean"}, "True if it is paused; else left out.", True),
    }
    return {
        "Forecast": object_of(found, [name for name in found if name != "paused"]),
        "ForecastSeconds": _quantiles(seconds, 840.0, 1020.0),
        "ForecastFinish": _quantiles(moment, "2023-07-01 00:14:00", "2023-07-01 00:17:00"),
    }


def _quantiles(kind: Document, half: t.Any, most: t.Any) -> Document:
    found = {
        "p50": told(kind, "With a chance of 50 %, it is not more or later.", half),
        "p90": told(kind, "With a chance of 90 %, it is not more or later.", most),
    }
    return object_of(found, found)


def plans() -> dict[str, Document]:
    """What a change, or a preview of one, says about the runs."""
    counts = {
        action: told({"type": "integer", "minimum": 0}, what, 1)
        for action, what in _COUNTED.items()
    }
    named = told(
        {"type": "string"},
        "Names this plan. Send it as If-Plan-Match.",
        "5f2b7cb1b2fcd5d1c5b1e3c1a5b4b3a1d1f0e2c3",
    )
    entries = {
        "type": "array",
        "description": "What is done with each run, one page of them. Only in a dry run.",
        "items": ref("PlanEntry"),
    }
    entry = {
        "key": told({"type": "string"}, "The key of the run.", "2023-07-17T23:56:05"),
        "execution_date": told(
            {"type": ["string", "null"]}, "The date of the run, in UTC.", "2023-07-17 23:56:05"
        ),
        "action": ref("PlanAction"),
        "reason": told({"type": "string"}, "Why.", "Not planned before."),
    }
    return {
        "Plan": object_of({**counts, "hash": named, "entries": entries}, [*ACTIONS, "hash"]),
        "PlanAction": {"type": "string", "enum": list(ACTIONS)},
        "PlanEntry": object_of(entry, entry),
        "PlanMetadata": object_of({"plan": ref("Plan"), **_ahead(), **PAGE}, ["plan"]),
        **forecasts(),
    }


def told(kind: Document, description: str, example: t.Any) -> Document:
    """A kind of values, with what they are and an example."""
    return {**kind, "description": description, "examples": [example]}


PAGE: Document = {
    "count": told({"type": "integer"}, "How many there are in all.", 1),
    "next": told({"type": "boolean"}, "Whether there are more after this page.", False),
}
_NOTES: Document = {
    "type": "array",
    "items": {"type": "string"},
    "description": "What people overlook in the window, a sentence each. Only in a dry run.",
    "examples": [["26 March has 23 hours."]],
}
_COUNTED = {
    "keep": "How many runs stay as they are.",
    "add": "How many runs are added.",
    "drop": "How many runs that have not begun are removed.",
    "redo": "How many runs that have ended run again.",
    "skip": "How many runs are left out, since another backfill has completed them.",
}
