"""A field of a form: its text, what that was when the form was made, and what is wrong with it."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Mapping

from ..tables.fields import Choice
from ..tables.fields import JSONObject
from ..tables.fields import UTCDateTime

#: What stands under a field, by its kind.
HINTS = {
    "moment": "Such as 2023-07-31 or 2023-07-31 06:00. Times are in {zone} unless you add an offset.",
    "json": 'A JSON object, such as {"depth": 5}',
}

#: A field that is ticked has this text, and one that is not has none.
TICKED = "true"


class Field(t.NamedTuple):
    """An attribute or a setting in a form."""

    key: str
    #: ``text``, ``number``, ``moment``, ``json``, ``choice`` or ``switch``.
    kind: str
    #: The name of the attribute, or of the setting.
    attribute: str
    text: str = ""
    #: What it was when the form was made.
    was: str = ""
    words: tuple[str, ...] = ()
    #: What an empty choice stands for.
    default: str | None = None
    #: The zone of a time without an offset.
    zone: str = "UTC"
    name: str | None = None
    own_hint: str | None = None
    errors: tuple[str, ...] = ()
    #: What somebody else has stored since, where the user wants something else.
    stored: str | None = None

    @property
    def is_changed(self) -> bool:
        """Whether the user has changed it."""
        return self.text != self.was

    @property
    def hint(self) -> str | None:
        return self.own_hint or HINTS.get(self.kind)

    @property
    def hint_values(self) -> Mapping[str, str]:
        """What is filled into the hint once it is translated."""
        return {"zone": self.zone} if self.hint == HINTS["moment"] else {}

    @property
    def label(self) -> str:
        return self.name or label_of(self.key)

    def filled(self, text: str, posted: Mapping[str, str]) -> Field:
        """The field with what the user has sent of it, or else with what is stored."""
        # A box that is not ticked is not sent at all.
        unsent = "" if self.kind == "switch" and f"was-{self.key}" in posted else text
        return self._replace(
            text=lines(posted.get(f"new-{self.key}", unsent)),
            was=lines(posted.get(f"was-{self.key}", text)),
        )


def label_of(key: str) -> str:
    """What people read for a name on the wire.

    >>> label_of("end_datetime"), label_of("block_uuid")
    ('End datetime', 'Block UUID')
    """
    return key.replace("_", " ").capitalize().replace("uuid", "UUID")


def kind_of(field: t.Any) -> str:
    """The kind of field that a form has for one of a schema."""
    if isinstance(field, JSONObject):
        return "json"
    if isinstance(field, UTCDateTime):
        return "moment"
    return "choice" if isinstance(field, Choice) else "text"


def text_of(value: t.Any) -> str:
    """A value as it stands in a form, with the line breaks that browsers send."""
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return lines(json.dumps(value, indent=2, ensure_ascii=False))
    return lines(str(value))


def lines(text: str) -> str:
    """A text as browsers send it, who make one kind of line break of each."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
