"""The OpenAPI document of a blueprint, generated from its schemas.

Needs the extra ``openapi``.
"""

from __future__ import annotations

import typing as t
import uuid

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import fields
from marshmallow import Schema

from ..host import Host
from ..rules.plan import ACTIONS
from ..tables import columns
from ..tables.fields import AsColumn
from ..tables.fields import Choice
from ..tables.fields import JSONObject
from ..tables.fields import Text
from ..tables.fields import UTCDateTime
from ..tables.fields import WholeNumber
from ..tables.schema import ModelSchema
from . import query

Document = dict[str, t.Any]

#: The refusals, by HTTP status.
_REFUSALS = {
    "400": "The body is not valid JSON, repeats a key, or has no backfill object",
    "401": "Credentials are missing or wrong",
    "403": "Not allowed",
    "404": "The pipeline has no such backfill",
    "409": "The state of the backfill or a database constraint does not allow this",
    "412": "If-Match or If-Plan-Match does not match",
    "413": "The body is too large",
    "415": "The body is not application/json, or is compressed",
    "422": "Some values are not valid; errors has the reasons by key",
    "503": "The database is locked or can't be reached",
}
_READS = ("401", "403", "404", "422", "503")
_WRITES = tuple(_REFUSALS)
_DELETES = ("401", "403", "404", "409", "412", "422", "503")
_DATETIME = {
    "type": ["string", "null"],
    "format": "date-time",
    "description": "ISO 8601. Without an offset, the time is in UTC. null clears the value.",
}
_SHOWN_DATETIME = {"type": ["string", "null"], "examples": ["2023-07-18 23:30:26"]}


def document(host: Host, server: str, more: t.Mapping[str, t.Any]) -> Document:
    """Return the OpenAPI document of one blueprint.

    :param server: the URL, or path, below which the routes are.
    :param more: items that the host adds or replaces, such as ``security``.
    """
    plugin = MarshmallowPlugin()
    options = {"servers": [{"url": server or "/"}], **more}
    spec = APISpec("Backfills", "1", "3.1.0", plugins=[plugin], **options)
    plugin.converter.add_attribute_function(_as_sent)  # type: ignore[union-attr]
    property_of = plugin.converter.field2property  # type: ignore[union-attr]
    schema = host.schema
    sent = {
        field.data_key or name: _or_null(property_of(field), schema, field.attribute or name)
        for name, field in schema.fields.items()
        if not field.dump_only
    }
    required = schema.missing_from({})
    for name, component in {
        "Backfill": _shown(schema),
        "Run": _shown(host.run_table.schema) if host.run_model else {"type": "object"},
        "Change": _object({"backfill": _object(sent)}, ["backfill"]),
        "New": _object({"backfill": _object(sent, list(required))}, ["backfill"]),
        "Plan": _plan(),
        "Error": _error(),
    }.items():
        spec.components.schema(name, component)
    for path, operations in _paths(host, property_of).items():
        spec.path(path=path, operations=operations)
    return spec.to_dict()


def _paths(host: Host, property_of: t.Any) -> dict[str, Document]:
    key = columns.key_column(host.table.mapper)
    kind = columns.python_type(key)
    id_schema: Document = {"type": "string"}
    if kind is int:
        id_schema = {"type": "integer", "minimum": 0}
    elif kind is uuid.UUID:
        id_schema["format"] = "uuid"
    pipeline = _parameter("pipeline_uuid", {"type": "string"}, "path")
    backfill_id = _parameter("backfill_id", id_schema, "path")
    condition = [_parameter("If-Match", {"type": "string"}, "header")]
    plan_condition = [*condition, _parameter("If-Plan-Match", {"type": "string"}, "header")]

    def asked(schema: type[Schema]) -> list[Document]:
        return [
            _parameter(
                field.data_key or name, _as_asked(property_of(field)), "query", field.required
            )
            for name, field in schema().fields.items()
        ]

    one, many = _answer_of("backfill"), _answer_of("backfills", many=True)
    saved = _answer_of("backfill", plan=True)
    change = {"parameters": [*plan_condition, *asked(query.Change)], **_body("Change")}
    item = {
        "get": {"parameters": asked(query.Detail), **_responses(_READS, one)},
        "put": {**change, **_responses(_WRITES, saved)},
        "patch": {**change, **_responses(_WRITES, saved)},
        "delete": {"parameters": condition, **_responses(_DELETES, one)},
    }
    listing = {"parameters": asked(query.List), **_responses(_READS, many)}
    create = {
        "parameters": [plan_condition[1], *asked(query.Change)],
        **_body("New"),
        **_responses(_WRITES, saved, "201"),
    }
    flat = {"parameters": asked(query.ListAnywhere), **_responses(_READS, many)}
    nested = "/pipelines/{pipeline_uuid}/backfills"
    paths = {
        nested: ([pipeline], {"get": listing, "post": create}),
        f"{nested}/{{backfill_id}}": ([pipeline, backfill_id], item),
        "/backfills": ([], {"get": flat}),
        "/backfills/{backfill_id}": ([backfill_id], item),
    }
    if host.run_model is not None:
        runs = {"parameters": asked(query.RunList)}
        runs |= _responses(_READS, _answer_of("runs", many=True, component="Run"))
        paths[f"{nested}/{{backfill_id}}/runs"] = ([pipeline, backfill_id], {"get": runs})
        paths["/backfills/{backfill_id}/runs"] = ([backfill_id], {"get": runs})
    return {
        path: {
            method: {**operation, "parameters": [*shared, *operation["parameters"]]}
            for method, operation in operations.items()
        }
        for path, (shared, operations) in paths.items()
    }


def _as_sent(self: t.Any, field: fields.Field[t.Any], ret: Document, **_: t.Any) -> Document:
    """What a caller may write into a field of ours."""
    while isinstance(field, AsColumn):
        nullable, field = field.allow_none, field.inner
        field.allow_none = nullable
    if isinstance(field, UTCDateTime):
        return _DATETIME
    if isinstance(field, WholeNumber):
        bounds = {k: ret[f"x-{k}"] for k in ("minimum", "maximum") if f"x-{k}" in ret}
        return {"type": ["integer", *_null(field)], **bounds}
    if isinstance(field, Choice):
        return {"enum": [*field.members, *([None] if _null(field) else [])]}
    if isinstance(field, Text):
        return {"type": ["string", *_null(field)], "pattern": r"^[^\u0000]*$"}
    if isinstance(field, JSONObject):
        return {"type": ["object", *_null(field)], "additionalProperties": True}
    return {}


def _as_asked(found: Document) -> Document:
    # A parameter that is left out has no default that could be sent.
    return {key: value for key, value in found.items() if (key, value) != ("default", None)}


def _or_null(found: Document, schema: ModelSchema, attribute: str) -> Document:
    # Where the column may be null, null may be sent back even if it can't be written.
    column = columns.column_of(schema.mapper, attribute)
    if column is None or not column.nullable:
        return found
    kinds = found.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and "null" not in kinds:
        found = {**found, "type": [*kinds, "null"]}
    if None not in found.get("enum", [None]):
        found = {**found, "enum": [*found["enum"], None]}
    return found


def _null(field: fields.Field[t.Any]) -> list[str]:
    return ["null"] if field.allow_none else []


def _shown(schema: Schema) -> Document:
    properties = {}
    for name, field in schema.fields.items():
        shown: Document = {}
        if isinstance(field, UTCDateTime):
            shown = _SHOWN_DATETIME
        elif isinstance(field, JSONObject):
            shown = {"type": ["object", "null"]}
        elif isinstance(field, WholeNumber):
            shown = {"type": ["integer", "null"]}
        elif isinstance(field, (Text, Choice)):
            shown = {"type": ["string", "null"]}
        properties[field.data_key or name] = shown
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _object(properties: Document, required: list[str] | None = None) -> Document:
    found: Document = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


def _plan() -> Document:
    counts = {action: {"type": "integer", "minimum": 0} for action in ACTIONS}
    entry = {
        "key": {"type": "string"},
        "execution_date": {"type": ["string", "null"]},
        "action": {"enum": list(ACTIONS)},
        "reason": {"type": "string"},
    }
    properties = {
        **counts,
        "hash": {"type": "string"},
        "entries": {"type": "array", "items": _object(entry, list(entry))},
    }
    return _object(properties, [*ACTIONS, "hash"])


def _error() -> Document:
    error = {
        "code": {"type": "integer"},
        "type": {"type": "string"},
        "message": {"type": "string"},
        "errors": {"type": "object"},
    }
    properties = {"error": _object(error, list(error)), "metadata": {"type": "object"}}
    return _object(properties, ["error"])


def _ref(component: str) -> Document:
    return {"$ref": f"#/components/schemas/{component}"}


def _parameter(name: str, schema: Document, where: str, required: bool = False) -> Document:
    found = {"name": name, "in": where, "schema": schema}
    return {**found, "required": True} if required or where == "path" else found


def _body(component: str) -> Document:
    content = {"application/json": {"schema": _ref(component)}}
    return {"requestBody": {"required": True, "content": content}}


def _answer_of(
    key: str, *, many: bool = False, plan: bool = False, component: str = "Backfill"
) -> Document:
    page = {"count": {"type": "integer"}, "next": {"type": "boolean"}}
    properties: Document = {key: _ref(component)}
    if many:
        properties = {
            key: {"type": "array", "items": _ref(component)},
            "metadata": _object(page, list(page)),
        }
    if plan:
        properties["metadata"] = _object({"plan": _ref("Plan"), **page}, ["plan"])
    return _object(properties, [key, "metadata"] if many else [key])


def _responses(refusals: tuple[str, ...], answer: Document, status: str = "200") -> Document:
    content = {"application/json": {"schema": answer}}
    told: Document = {status: {"description": "Done", "content": content}}
    for code in refusals:
        error = {"application/json": {"schema": _ref("Error")}}
        told[code] = {"description": _REFUSALS[code], "content": error}
    return {"responses": told}
