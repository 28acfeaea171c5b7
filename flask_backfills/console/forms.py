"""The form to edit the attributes of a backfill."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable
from collections.abc import Mapping
from functools import partial

from werkzeug.exceptions import Conflict

from ..changes.backfills import Sent
from ..errors import Errors
from ..errors import flat
from ..errors import Malformed
from ..parsing import parse
from ..tables.fields import Choice
from ..tables.schema import BackfillSchema
from ..tables.zoned import LocalWindow
from . import settings_form
from .field import Field
from .field import kind_of
from .field import text_of

#: Those that people change; the others follow from the status, or are for programs.
FIRST = ("name", "block_uuid")

#: Of which time there are runs, and the step from run to run, in one line.
WINDOW = ("start_datetime", "end_datetime")
STEP = ("interval_units", "interval_type")

#: What each run gets.
VARIABLES = ("variables",)

#: The settings are in fields of their own.
SETTINGS = "settings"

#: Whether the end is a part of a window, and what a date without a time is.
END_IN = (
    "Included: the last run begins then, or on the last date before it."
    " Without a time of day, that is midnight."
)
END_OUT = "Not included: the last run begins before it. Without a time of day, that is midnight."

#: The actions change it.
APART = ("status",)


class NotJSON(Exception):
    """The text of some fields is not what is to be stored. ``errors`` has the reasons by field."""

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


class Form:
    """What of a backfill may be written, as text, with its window in the blueprint's zone.

    Only what the user has changed is sent, so that the rest may change meanwhile.

    :param shown: its attributes as they are on the wire.
    :param posted: what the user has sent; empty at first.
    :param window: turns windows into those on the wire.
    :param names: the settings that have fields of their own.
    :param inclusive: whether the end is a part of a window; ``None`` where nothing is run.
    """

    def __init__(
        self,
        schema: BackfillSchema,
        shown: Mapping[str, t.Any],
        posted: Mapping[str, str],
        window: LocalWindow,
        names: tuple[str, ...] = (),
        inclusive: bool | None = None,
    ) -> None:
        self.window = window
        #: The name of the settings on the wire, and those that have fields.
        self.settings_key = schema.key_of(SETTINGS)
        self.names: tuple[str, ...] = ()
        fields = _fields_of(schema, window)
        by_key = {field.key: field for field in fields}
        end = by_key.get(schema.key_of("end_datetime"))
        if inclusive is not None and end is not None:
            by_key[end.key] = end._replace(own_hint=END_IN if inclusive else END_OUT)
            fields = [*by_key.values()]
        settings = by_key.get(self.settings_key)
        if names and settings is not None and settings.kind == "json":
            self.names = tuple(
                # What a host calls an attribute is the attribute.
                name
                for name in names
                if settings_form.key_of(self.settings_key, name) not in by_key
            )
            by_key[self.settings_key] = settings._replace(
                name=settings_form.MORE, own_hint=settings_form.OWN
            )
            fields = [*by_key.values(), *settings_form.fields(self.settings_key, self.names)]
        there = self._texts(fields, shown)
        self.fields = [field.filled(there[field.key], posted) for field in fields]
        self.other_errors: dict[str, str] = {}

    @property
    def by_attribute(self) -> dict[str, Field]:
        """The fields by their attribute, without those of single settings."""
        return {field.attribute: field for field in self.fields if not self._is_setting(field)}

    @property
    def first(self) -> list[Field]:
        return self._with(FIRST)

    @property
    def span(self) -> list[Field]:
        return self._with(WINDOW)

    @property
    def variables(self) -> list[Field]:
        return self._with(VARIABLES)

    @property
    def step(self) -> list[Field]:
        return self._with(STEP)

    @property
    def settings(self) -> list[Field]:
        """The settings, and last those that have no fields of their own."""
        return [field for field in self.fields if self._is_setting(field)] + self._with((SETTINGS,))

    @property
    def more(self) -> list[Field]:
        apart = {*FIRST, *WINDOW, *STEP, *VARIABLES, SETTINGS}
        return [field for name, field in self.by_attribute.items() if name not in apart]

    @property
    def wrong(self) -> list[Field]:
        """The fields that the user has to look at."""
        first = *self.first, *self.span, *self.step, *self.variables
        shown = [*first, *self.settings, *self.more]
        return [field for field in shown if field.errors or field.stored is not None]

    def sent(self) -> Sent:
        """What a request would send for what the user has changed.

        :raises NotJSON: for text that is none.
        :raises flask_backfills.errors.Refused: for a time that UTC does not have.
        """
        sent: dict[str, t.Any] = {}
        ours: dict[str, t.Any] = {}
        wrong: Errors = {}
        for field in self.fields:
            if not field.is_changed:
                continue
            if self._is_setting(field):
                ours[field.attribute] = settings_form.value_of(field)
                continue
            sent[field.key] = field.text or None
            if field.text and field.kind == "json":
                try:
                    sent[field.key] = parse(field.text.encode("utf-8", "replace"), "The text")
                except Malformed as error:
                    wrong[field.key] = [str(error.description)]
        own = None
        if self.names and self.settings_key in sent and not wrong.get(self.settings_key):
            own = sent.pop(self.settings_key)
            own = {} if own is None else own
            if told := settings_form.wrong(own, self.names):
                wrong[self.settings_key] = told
        if wrong:
            raise NotJSON(wrong)
        sent = self.window.read(sent)
        if own is None and not ours:
            return sent
        change = settings_form.Change(ours, own, self.names)
        return partial(_with_settings, sent, self.settings_key, change)

    def check(self, shown: Mapping[str, t.Any]) -> None:
        """Compare what the user has changed with what is stored now.

        :param shown: the attributes of the locked backfill.
        :raises Overtaken: if the user has not seen it.
        """
        now = self._texts(self.fields, shown)
        stored = {
            field.key: now[field.key]
            for field in self.fields
            if field.is_changed and now[field.key] not in (field.was, field.text)
        }
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
        errors = {**errors, **self._of_settings(errors)}
        self.fields = [
            field._replace(errors=tuple(flat(errors[field.key]))) if field.key in errors else field
            for field in self.fields
        ]
        self.other_errors = {
            key: " ".join(flat(told)) for key, told in errors.items() if told and key not in known
        }
        return self

    def _of_settings(self, errors: Errors) -> Errors:
        """What is wrong with settings, by their fields; the rest stays with the host's own."""
        told = errors.get(self.settings_key)
        if not isinstance(told, Mapping):
            return {}
        own = {name: one for name, one in told.items() if name not in self.names}
        own |= {name: one for name, one in told.items() if one == [settings_form.ELSEWHERE]}
        ours = {
            settings_form.key_of(self.settings_key, name): one
            for name, one in told.items()
            if name not in own
        }
        return {**ours, self.settings_key: own}

    def _texts(self, fields: Iterable[Field], shown: Mapping[str, t.Any]) -> dict[str, str]:
        """What stands in each field for what is shown on the wire, by key."""
        shown = self.window.show(shown)
        found = {field.key: text_of(shown.get(field.key)) for field in fields}
        if self.names:
            key = self.settings_key
            found |= settings_form.texts(key, self.names, shown.get(key))
        return found

    def _is_setting(self, field: Field) -> bool:
        return field.key == settings_form.key_of(self.settings_key, field.attribute)

    def _with(self, attributes: Iterable[str]) -> list[Field]:
        found = self.by_attribute
        return [found[attribute] for attribute in attributes if attribute in found]


def _fields_of(schema: BackfillSchema, window: LocalWindow) -> list[Field]:
    return [
        Field(
            key=(key := field.data_key or name),
            kind=kind_of(field),
            attribute=field.attribute or name,
            words=tuple(field.members) if isinstance(field, Choice) else (),
            zone=str(window.zone) if key in window.keys else "UTC",
        )
        for name, field in schema.load_fields.items()
        if (field.attribute or name) not in APART
    ]


def _with_settings(
    sent: dict[str, t.Any], key: str, change: settings_form.Change, backfill: t.Any
) -> dict[str, t.Any]:
    return {**sent, key: change.of(getattr(backfill, SETTINGS, None))}
