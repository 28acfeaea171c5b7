"""The named schemas of the OpenAPI document, which follow the schemas of the host's models."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from collections.abc import Mapping

from marshmallow import fields

from ..auth import CREDENTIALS
from ..host import Host
from ..rules.lifecycle import STATUSES
from ..rules.settings import CHOICES
from ..rules.settings import NUMBERS
from ..rules.settings import SWITCHES
from ..tables import columns
from ..tables.fields import AsColumn
from ..tables.fields import Choice
from ..tables.fields import JSONObject
from ..tables.fields import Text
from ..tables.fields import UTCDateTime
from ..tables.fields import WholeNumber
from ..tables.schema import ADDED
from ..tables.schema import ModelSchema
from . import answers
from . import descriptions
from . import readings
from . import windows
from .answers import Document
from .answers import list_of
from .answers import object_of
from .answers import or_null
from .answers import ref
from .descriptions import Told

_DAY = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6}0*)?)?"
_OFFSET = "(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)"
#: What a caller may write; ``date-time`` is what generators know best, but it needs an offset.
_DATETIME: Document = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "string", "pattern": f"^{_DAY}([T ]{_TIME}{_OFFSET}?)?$"},
    ]
}
#: How one is shown: in UTC; or in the zone of the blueprint, with the offset.
_MOMENT: Document = {"type": "string"}
_IN_ZONE: Document = {
    "type": "string",
    "pattern": f"^{_DAY} [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(\\.[0-9]{{6}})?[+-][0-9]{{2}}:[0-9]{{2}}$",
}
_BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "enum")
#: What the enums of our own are, whose names need no owner.
_PLAIN = ("interval_type", "order", "reprocess", "status")
#: The objects that have a name of their own.
_OBJECTS = ("changes", "metrics", "variables")
_METADATA = ("description", "examples", "deprecated")


class Components:
    """The named schemas of one host's document.

    :param property_of: what apispec makes of a field of marshmallow.
    """

    def __init__(self, host: Host, property_of: Callable[[t.Any], Document]) -> None:
        self._property_of = property_of
        self._with_runs = host.run_model is not None
        self._told_of = windows.attributes(host.zone, host.wire_zone)
        #: The schemas, by their names.
        self.schemas: dict[str, Document] = {
            "Status": {"type": "string", "enum": list(STATUSES)},
            "Page": answers.page(),
            **answers.errors(self._with_runs),
        }
        self._add_backfill(host)
        if self._with_runs:
            self._add_runs(host)
        if host.events is not None:
            shown = host.events.schema, descriptions.EVENT_ATTRIBUTES
            self.schemas |= readings.history(self._shown("Event", *shown))
        self.schemas["BackfillSaved"] = _saved(self._with_runs)
        keys = {host.schema.key_of(name): value for name, value in descriptions.PAGE.items()}
        writable = self.schemas["BackfillUpdate"]["properties"].keys()
        #: An example of each body, first the request of Mage's page, as far as the model takes it.
        self.examples = answers.examples({key: keys[key] for key in keys if key in writable})

    def parameter(self, field: fields.Field[t.Any]) -> Document:
        """The schema of a query parameter."""
        found = self._property_of(field)
        if set(found.get("enum", ())) == set(STATUSES):
            return ref("Status")
        if isinstance(field, UTCDateTime):
            return _DATETIME
        return {
            key: value
            for key, value in {**found, **self._plain(field)}.items()
            # One that is left out has no default that could be sent.
            if (key, value) != ("default", None)
        }

    def _add_backfill(self, host: Host) -> None:
        schema = host.schema
        sent = {
            field.data_key or name: self._sent(schema, name, field)
            for name, field in schema.fields.items()
            if not field.dump_only
        }
        # Of any type: what stands there is not looked at.
        added = sorted(ADDED - {*schema.keys.values()})
        sent |= {key: {"description": descriptions.LEFT_ALONE} for key in added}
        beside = {key: {"description": descriptions.CREDENTIAL} for key in sorted(CREDENTIALS)}
        required = list(schema.missing_from({}))
        for name, needed in (("BackfillUpdate", []), ("BackfillCreate", required)):
            self.schemas[name] = object_of(sent, needed)
            body = object_of({"backfill": ref(name), **beside}, ["backfill"])
            self.schemas[f"{name}Body"] = body
        backfill = self._shown("Backfill", schema, self._told_of)
        for name in added:
            if self._with_runs or name != "run_status_counts":
                found = or_null(self._added(name), name in ("forecast", "total_run_count"))
                backfill["properties"][name] = found | _told(self._told_of, name)
        self.schemas["Backfill"] = backfill
        self.schemas["BackfillAnswer"] = object_of({"backfill": ref("Backfill")}, ["backfill"])
        self.schemas["BackfillList"] = list_of("backfills", "Backfill")

    def _add_runs(self, host: Host) -> None:
        schema = host.run_table.schema
        self.schemas["Run"] = self._shown("Run", schema, descriptions.RUN_ATTRIBUTES)
        self.schemas["RunList"] = list_of("runs", "Run")
        self.schemas |= answers.one_run(self.schemas["Run"]) | answers.run_changes()
        moment = _MOMENT if host.wire_zone is None else _IN_ZONE
        ids, told = self._plain(schema.fields["backfill_id"]), windows.pieces(host.wire_zone)
        self.schemas |= readings.coverage(ids, moment, told)
        self.schemas |= answers.plans() | readings.reasons()

    def _sent(self, schema: ModelSchema, name: str, field: fields.Field[t.Any]) -> Document:
        """What a caller may write into a field."""
        attribute = field.attribute or name
        found = self._property_of(field)
        kind = self._kind("Backfill", attribute, field, found, sent=True)
        if kind is None:
            kind = self._of_the_hosts_own(attribute, found)
        column = columns.column_of(schema.mapper, attribute)
        # Where the column may be null, null may be sent back even if it can't be written.
        nullable = bool(field.allow_none or (column is not None and column.nullable))
        told = _told(self._told_of, attribute, found)
        ours = "description" in told and "description" not in found
        if ours and nullable and not field.allow_none:
            told["description"] += f" {descriptions.ONLY_BACK}"
        return or_null(kind, nullable) | told

    def _shown(self, owner: str, schema: ModelSchema, told: Mapping[str, Told]) -> Document:
        """What is shown of a row."""
        properties = {}
        for name, field in schema.dump_fields.items():
            attribute = field.attribute or name
            column = columns.column_of(schema.mapper, attribute)
            nullable = column is None or bool(column.nullable)
            if column is not None and column.primary_key:
                attribute, nullable = "id", owner == "Backfill"
            found = self._property_of(field)
            kind = self._kind(owner, attribute, field, found, sent=False)
            shown = or_null(_simple(field, found) if kind is None else kind, nullable)
            properties[field.data_key or name] = shown | _told(told, attribute, found)
        return {"type": "object", "properties": properties, "required": sorted(properties)}

    def _kind(
        self, owner: str, attribute: str, field: t.Any, found: Document, *, sent: bool
    ) -> Document | None:
        """The type of a field of ours, null left aside; ``None`` for one of the host's own."""
        if isinstance(field, Choice):
            words = [word for word in field.members if word in found.get("enum", field.members)]
            return self._words(owner, attribute, words)
        if isinstance(field, JSONObject):
            return self._json(attribute)
        if isinstance(field, UTCDateTime):
            shown = _MOMENT if field.zone is None else _IN_ZONE
            return _DATETIME if sent else shown
        kind = self._plain(field)
        if not sent or not kind:
            return kind or None
        bare = {key.removeprefix("x-"): value for key, value in found.items()}
        bounds = {key: bare[key] for key in _BOUNDS if key in bare}
        if kind == {"type": "string"}:
            if "enum" in bounds:
                return self._of_the_hosts_own(attribute, bounds)
            kind["pattern"] = r"^[^\u0000]*$"
        return {**kind, **bounds}

    def _of_the_hosts_own(self, attribute: str, found: Document) -> Document:
        """What apispec makes of a field, with a name for what generators would invent one."""
        words = [word for word in found.get("enum", ()) if word is not None]
        nullable = "null" in found.get("type", ()) or None in found.get("enum", ())
        if words and all(isinstance(word, str) for word in words):
            return or_null(self._words("Backfill", attribute, words), nullable)
        if "object" in found.get("type", ()) and not found.get("additionalProperties"):
            return or_null(self._json(attribute), nullable)
        return {key: value for key, value in found.items() if key not in _METADATA}

    def _plain(self, field: t.Any) -> Document:
        """The type of a field of ours that is neither a choice nor an object."""
        while isinstance(field, AsColumn):
            field = field.inner
        if isinstance(field, WholeNumber):
            return {"type": "integer"}
        if isinstance(field, Text):
            return {"type": "string"}
        if type(field) is fields.UUID:
            return {"type": "string", "format": "uuid"}
        return {}

    def _words(self, owner: str, attribute: str, words: list[str]) -> Document:
        """A named enum; with the owner in its name, where the plain name is not ours or has
        other words."""
        name = "".join(part.capitalize() for part in attribute.split("_"))
        named = self.schemas.get(name, {"enum": words})
        if attribute not in _PLAIN or sorted(named["enum"]) != sorted(words):
            name = f"{owner}{name}"
        self.schemas[name] = {"type": "string", "enum": words}
        return ref(name)

    def _json(self, attribute: str) -> Document:
        """A named object of its own for those that people write, and one for all others."""
        anything: Document = {"type": "object", "additionalProperties": True}
        if attribute == "settings" and self._with_runs:
            self.schemas["Settings"] = self._settings()
            return ref("Settings")
        name = attribute.capitalize() if attribute in _OBJECTS else "JSONObject"
        self.schemas[name] = anything
        return ref(name)

    def _settings(self) -> Document:
        bounds = {name: {"minimum": a, "maximum": b} for name, (a, b) in NUMBERS.items()}
        kinds: Document = {name: {"type": "integer", **one} for name, one in bounds.items()}
        kinds |= {name: self._words("Settings", name, list(w)) for name, w in CHOICES.items()}
        kinds |= {name: {"type": "boolean"} for name in SWITCHES}
        properties = {
            name: or_null(kinds[name]) | _told(descriptions.SETTINGS, name)
            for name in sorted(kinds)
        }
        return {
            "type": "object",
            "description": "How the runs are handed out. null stands for the default. Other keys"
            " are stored as they are.",
            "properties": properties,
            "additionalProperties": True,
        }

    def _added(self, name: str) -> Document:
        """What a GET adds to the attributes."""
        count: Document = {"type": "integer", "minimum": 0}
        known = {"total_run_count": count, "forecast": answers.forecast(self._with_runs)}
        if name in known:
            return known[name]
        if name == "pipeline_run_dates":
            return {"type": "array", "items": self._json("variables")}
        self.schemas["RunStatusCounts"] = {"type": "object", "additionalProperties": count}
        return ref("RunStatusCounts")


def _saved(with_runs: bool) -> Document:
    plan = {"metadata": ref("PlanMetadata")} if with_runs else {}
    return object_of({"backfill": ref("Backfill"), **plan}, ["backfill"])


def _simple(field: fields.Field[t.Any], found: Document) -> Document:
    simple = isinstance(field, (fields.String, fields.Integer, fields.Boolean))
    if not simple or getattr(field, "as_string", False) or "type" not in found:
        return {}
    kinds = found["type"] if isinstance(found["type"], list) else [found["type"]]
    return {"type": [*(kind for kind in kinds if kind != "null"), "null"]}


def _told(
    told: Mapping[str, Told], name: str, found: Mapping[str, t.Any] | None = None
) -> Document:
    """The description and the example of an attribute; a host's own come first."""
    ours: Document = {}
    if name in told:
        description, example = told[name]
        ours = {"description": description, "examples": [example]}
    return {**ours, **{key: found[key] for key in _METADATA if key in found}} if found else ours
