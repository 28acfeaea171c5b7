"""The OpenAPI document of a blueprint: its paths. The schemas stand in ``components.py``.

Needs the extra ``openapi``.
"""

from __future__ import annotations

import typing as t
import uuid

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from sqlalchemy.orm import Mapper

from ..changes import once
from ..host import Host
from ..rules.idempotency import PATTERN
from ..tables import columns
from . import query
from . import windows
from .answers import Document
from .answers import ref
from .components import Components
from .descriptions import HEADERS
from .descriptions import OPERATIONS
from .descriptions import REFUSALS
from .descriptions import TAGS

_READS = ("401", "403", "404", "422", "503")
_WRITES = tuple(REFUSALS)
_DELETES = ("401", "403", "404", "409", "412", "422", "503")


def document(host: Host, server: str, more: t.Mapping[str, t.Any]) -> Document:
    """Return the OpenAPI document of one blueprint.

    :param server: the URL, or path, below which the routes are.
    :param more: items that the host adds or replaces, such as ``security``.
    """
    plugin = MarshmallowPlugin()
    longest = once.longest(host.table)
    paths = _paths(host.run_model is not None, with_keys=longest > 0)
    paths |= _history_paths() if host.event_model is not None else {}
    used = sorted({one.tag for operations in paths.values() for one in operations.values()})
    options = {
        "info": {"description": windows.about(host.wire_zone)},
        "tags": [{"name": name, "description": TAGS[name]} for name in used],
        "servers": [{"url": server or "/"}],
        **more,
    }
    spec = APISpec("Backfills", "1", "3.1.0", plugins=[plugin], **options)
    components = Components(host, plugin.converter.field2property)  # type: ignore[union-attr]
    for name, component in components.schemas.items():
        spec.components.schema(name, component)
    ids: Document = {"pipeline_uuid": {"type": "string"}}
    ids["backfill_id"] = _id(host.table.mapper)
    if host.run_model is not None:
        ids["run_id"] = _id(host.run_table.mapper)
    told_of = windows.parameters(host.wire_zone)
    for path, operations in paths.items():
        shared = [
            _parameter(told_of, name, ids[name], "path") for name in ids if f"{{{name}}}" in path
        ]
        told = {
            method: _told(one, shared, components, longest, told_of)
            for method, one in operations.items()
        }
        spec.path(path=path, operations=told)
    return spec.to_dict()


class _Operation(t.NamedTuple):
    """One operation: what it is called, what it reads, what it answers."""

    id: str
    query: type[query.Query]
    refusals: tuple[str, ...]
    answer: str
    status: str = "200"
    body: str | None = None
    headers: tuple[str, ...] = ()
    tag: str = "backfills"


def _paths(with_runs: bool, with_keys: bool) -> dict[str, dict[str, _Operation]]:
    """The operations, by path and method."""
    create = _Operation(
        "create_backfill",
        query.Change,
        _WRITES,
        "BackfillSaved",
        status="201",
        body="BackfillCreateBody",
        headers=("If-Plan-Match", *(("Idempotency-Key",) if with_keys else ())),
    )
    lists = query.List, _READS, "BackfillList"
    anywhere = query.ListAnywhere, _READS, "BackfillList"
    nested = "/pipelines/{pipeline_uuid}/backfills"
    paths = {
        nested: {"get": _Operation("list_backfills", *lists), "post": create},
        f"{nested}/{{backfill_id}}": _of_one(""),
        "/backfills": {"get": _Operation("list_backfills_of_pipeline", *anywhere)},
        "/backfills/{backfill_id}": _of_one(_FLAT),
    }
    if with_runs:
        for path, suffix in ((nested, ""), ("/backfills", _FLAT)):
            runs = f"{path}/{{backfill_id}}/runs"
            paths[runs] = _of_runs(suffix)
            paths[f"{runs}/{{run_id}}"] = _of_run(suffix)
            explain = query.Explain, _READS, "ExplainAnswer"
            paths[f"{path}/{{backfill_id}}/explain"] = {
                "get": _Operation(f"explain_backfill{suffix}", *explain)
            }
        coverage = query.Coverage, _READS, "CoverageAnswer"
        paths["/pipelines/{pipeline_uuid}/coverage"] = {
            "get": _Operation("get_coverage", *coverage, tag="coverage")
        }
    return paths


def _history_paths() -> dict[str, dict[str, _Operation]]:
    told = query.Page, _READS, "History"
    return {
        f"{path}/{{backfill_id}}/history": {
            "get": _Operation(f"get_history{suffix}", *told, tag="history")
        }
        for path, suffix in (("/pipelines/{pipeline_uuid}/backfills", ""), ("/backfills", _FLAT))
    }


#: What the ids of operations on paths without a pipeline end with.
_FLAT = "_by_id"


def _of_one(suffix: str) -> dict[str, _Operation]:
    changes = query.Change, _WRITES, "BackfillSaved", "200", "BackfillUpdateBody"
    conditions = ("If-Match", "If-Plan-Match")
    answer = "BackfillAnswer"
    return {
        "get": _Operation(f"get_backfill{suffix}", query.Detail, _READS, answer),
        **_both(f"backfill{suffix}", *changes, conditions),
        "delete": _Operation(
            f"delete_backfill{suffix}", query.Query, _DELETES, answer, headers=("If-Match",)
        ),
    }


def _of_runs(suffix: str) -> dict[str, _Operation]:
    changes = query.RunsUpdate, _WRITES, "RunsAnswer", "200", "RunsUpdateBody", (), "runs"
    read = _Operation(f"list_runs{suffix}", query.RunList, _READS, "RunList", tag="runs")
    return {"get": read, **_both(f"runs{suffix}", *changes)}


def _of_run(suffix: str) -> dict[str, _Operation]:
    changes = query.RunUpdate, _WRITES, "RunAnswer", "200", "RunUpdateBody", (), "runs"
    read = _Operation(f"get_run{suffix}", query.Query, _READS, "RunAnswer", tag="runs")
    return {"get": read, **_both(f"run{suffix}", *changes)}


def _both(name: str, *change: t.Any) -> dict[str, _Operation]:
    """PUT and PATCH, which mean the same."""
    return {
        method: _Operation(f"{verb}_{name}", *change)
        for method, verb in (("put", "update"), ("patch", "patch"))
    }


def _told(
    one: _Operation,
    shared: list[Document],
    components: Components,
    longest: int,
    told_of: t.Mapping[str, str],
) -> Document:
    """An operation as the document has it.

    :param longest: how many characters an Idempotency-Key may have.
    """
    known = one.id.removesuffix(_FLAT)
    summary, description = OPERATIONS[known]
    if known != one.id:
        summary += ", by its id alone"
        description += f" The same as `{known}`, on a path without a pipeline."
    key = {"type": "string", "minLength": 1, "maxLength": longest, "pattern": f"^{PATTERN}$"}
    kinds = {"Idempotency-Key": key}
    headers = [
        _parameter(told_of, name, kinds.get(name, {"type": "string"}), "header")
        for name in one.headers
    ]
    asked = [
        _parameter(
            told_of,
            field.data_key or name,
            components.parameter(field),
            "query",
            required=field.required,
        )
        for name, field in one.query().fields.items()
    ]
    of_answer: tuple[str, ...] = (
        ("ETag",) if one.answer in ("BackfillAnswer", "BackfillSaved") else ()
    )
    if one.status == "201":
        of_answer += ("Location",)
    told: Document = {
        "operationId": one.id,
        "summary": summary,
        "description": description,
        "tags": [one.tag],
        "parameters": [*shared, *headers, *asked],
        "responses": {
            one.status: _answer("Done", one.answer, of_answer),
            **{
                code: _answer(REFUSALS[code], "Error", ("Retry-After",) if code == "503" else ())
                for code in one.refusals
            },
        },
    }
    if one.body:
        content = _json(one.body)
        content["application/json"]["example"] = components.examples[one.body]
        told["requestBody"] = {"required": True, "content": content}
    return told


def _parameter(
    told_of: t.Mapping[str, str], name: str, schema: Document, where: str, required: bool = False
) -> Document:
    told = {"description": told_of[name]}
    # In the schema too, where generators look for it.
    schema = schema if "$ref" in schema else {**schema, **told}
    found = {"name": name, "in": where, **told, "schema": schema}
    return {**found, "required": True} if required or where == "path" else found


def _answer(description: str, component: str, headers: tuple[str, ...]) -> Document:
    answer: Document = {"description": description, "content": _json(component)}
    told = {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in headers}
    return {**answer, "headers": told} if told else answer


def _json(component: str) -> Document:
    return {"application/json": {"schema": ref(component)}}


def _id(mapper: Mapper[t.Any]) -> Document:
    kind = columns.python_type(columns.key_column(mapper))
    if kind is int:
        return {"type": "integer", "minimum": 0}
    return {"type": "string", "format": "uuid"} if kind is uuid.UUID else {"type": "string"}
