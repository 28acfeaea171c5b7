"""The form to edit the attributes of a backfill."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Mapping

from werkzeug.exceptions import Conflict

from ..errors import Errors
from ..errors import flat
from ..errors import Malformed
from ..parsing import parse
from ..rules.settings import SETTINGS
from ..tables.fields import Choice
from ..tables.fields import JSONObject
from ..tables.fields import UTCDateTime
from ..tables.schema import BackfillSchema
from ..tables.zoned import LocalWindow

#: Those that people change; the others follow from the status, or are for programs.
FIRST = (
    "name",
    "start_datetime",
    "end_datetime",
    "interval_type",
    "interval_units",
    "block_uuid",
    "variables",
    "settings",
)

#: What stands under a field, by its kind.
HINTS = {
    "moment": "Example: 2023-07-18 23:30. Times are in {zone} unless you add an offset.",
    "json": 'A JSON object, such as {"depth": 5}',
    "settings": f"A JSON object. How runs are handed out: {', '.join(SETTINGS)}.",
}

#: The actions change it.
APART = ("status",)


class NotJSON(Exception):
    """The text of some fields is not valid JSON. ``errors`` has the reasons by field."""

    def __init__(self, errors: Errors) -> None:
        self.errors = errors


class Overtaken(Conflict):
    """What the user wants to change was changed meanwhile. ``stored`` has its text by field."""

    description = (
        "Somebody else has changed the same fields since you opened this form. Nothing was saved."
        " Compare the values below. Then save yours again, or write what is to be stored."
    )

    def __init__(self, stored: Mapping[str, str]) -> None:
        super().__init__()
        self.stored = stored


class Field(t.NamedTuple):
    """An attribute in the form."""

    key: str
    kind: str
    text: str
    #: What it was when the form was made.
    was: str
    words: tuple[str, ...]
    #: The zone of a time without an offset.
    zone: str = "UTC"
    errors: tuple[str, ...] = ()
    #: What somebody else has stored since, where the user wants something else.
    stored: str | None = None

    @property
    def is_changed(self) -> bool:
        """Whether the user has changed it."""
        return self.text != self.was

    @property
    def hint(self) -> str | None:
        """How its text is written."""
        if self.kind == "moment":
            return HINTS["moment"].format(zone=self.zone)
        return HINTS.get(self.key) or HINTS.get(self.kind)

    @property
    def label(self) -> str:
        return self.key.replace("_", " ").capitalize().replace("uuid", "UUID")


class Form:
    """What of a backfill may be written, as text, with its window in the blueprint's zone.

    Only what the user has changed is sent, so that the rest may change meanwhile.

    :param shown: its attributes as they are on the wire.
    :param posted: what the user has sent; empty at first.
    :param window: turns windows into those on the wire.
    """

    def __init__(
        self,
        schema: BackfillSchema,
        shown: Mapping[str, t.Any],
        posted: Mapping[str, str],
        window: LocalWindow,
    ) -> None:
        self.window = window
        shown = window.show(shown)
        self.fields: list[Field] = []
        for name, field in schema.load_fields.items():
            key = field.data_key or name
            if key in APART:
                continue
            was = _text(shown.get(key))
            words: tuple[str, ...] = ()
            if isinstance(field, Choice):
                words = tuple(field.members)
            self.fields.append(
                Field(
                    key=key,
                    kind=_kind(field),
                    text=_lines(posted.get(f"new-{key}", was)),
                    was=_lines(posted.get(f"was-{key}", was)),
                    words=words,
                    zone=str(window.zone) if key in window.keys else "UTC",
                )
            )
        self.other_errors: dict[str, str] = {}

    @property
    def first(self) -> list[Field]:
        found = {field.key: field for field in self.fields}
        return [found[key] for key in FIRST if key in found]

    @property
    def more(self) -> list[Field]:
        return [field for field in self.fields if field.key not in FIRST]

    def sent(self) -> dict[str, t.Any]:
        """What a request would send for what the user has changed.

        :raises NotJSON: for text that is none.
        :raises flask_backfills.errors.Refused: for a time that UTC does not have.
        """
        sent: dict[str, t.Any] = {}
        wrong: Errors = {}
        for field in self.fields:
            if not field.is_changed:
                continue
            sent[field.key] = field.text or None
            if field.text and field.kind == "json":
                try:
                    sent[field.key] = parse(field.text.encode("utf-8", "replace"), "The text")
                except Malformed as error:
                    wrong[field.key] = [str(error.description)]
        if wrong:
            raise NotJSON(wrong)
        return self.window.read(sent)

    def check(self, shown: Mapping[str, t.Any]) -> None:
        """Compare what the user has changed with what is stored now.

        :param shown: the attributes of the locked backfill.
        :raises Overtaken: if the user has not seen it.
        """
        stored = {}
        shown = self.window.show(shown)
        for field in self.fields:
            now = _lines(_text(shown.get(field.key)))
            if field.is_changed and now not in (field.was, field.text):
                stored[field.key] = now
        if stored:
            raise Overtaken(stored)

    def overtaken(self, stored: Mapping[str, str]) -> Form:
        """The same form, with what is stored by now: the user sees it, and may write over it."""
        self.fields = [
            field._replace(was=stored[field.key], stored=stored[field.key])
            if field.key in stored
            else field
            for field in self.fields
        ]
        return self

    def refused(self, errors: Errors) -> Form:
        """The same form, with what is wrong at its fields."""
        known = {field.key for field in self.fields}
        self.fields = [
            field._replace(errors=tuple(flat(errors[field.key]))) if field.key in errors else field
            for field in self.fields
        ]
        self.other_errors = {k: " ".join(flat(e)) for k, e in errors.items() if k not in known}
        return self


def _kind(field: t.Any) -> str:
    if isinstance(field, JSONObject):
        return "json"
    if isinstance(field, UTCDateTime):
        return "moment"
    return "choice" if isinstance(field, Choice) else "text"


def _text(value: t.Any) -> str:
    if value is None:
        return ""
    return (
        json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict) else str(value)
    )


def _lines(text: str) -> str:
    # As browsers send them, who make one of each kind.
    return text.replace("\r\n", "\n").replace("\r", "\n")
