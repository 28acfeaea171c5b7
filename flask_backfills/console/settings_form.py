"""The settings in a form: a field for each that decides something, and one for the host's own keys.

On the wire settings are replaced as a whole. Here only those change that the user has changed.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Collection
from collections.abc import Mapping

from ..changes.run_values import unsupported
from ..host import Host
from ..rules.settings import CHOICES
from ..rules.settings import NUMBERS
from ..rules.settings import SETTINGS
from ..rules.settings import SWITCHES
from .field import Field
from .field import text_of
from .field import TICKED

#: What stands under the field of a setting. Their order is that of the fields; a setting that is
#: not among them comes after them.
HINTS = {
    "pipeline_run_limit": "How many run at a time. Empty: no limit.",
    "order": "By date.",
    "max_failures": "After so many, no more runs start.",
    "max_attempts": "Tries of a run that raises an error.",
    "retry_delay": "Seconds before the second try. Later ones wait longer.",
    "run_timeout": "Seconds after which a run has failed.",
    "priority": "The highest comes first. Empty: 0.",
    "canary": "So many runs first, 1 to 10. Then it pauses.",
    "reprocess": "The ended runs that a start runs again.",
    "only_ended": "A run waits until its interval has ended.",
    "skip_covered": "Leave out what other backfills have completed.",
    "paused": "No more runs start. What runs goes on.",
}

#: What the field with the other keys is called, and what stands under it.
MORE = "More settings (JSON)"
OWN = "Keys of your app's own, as a JSON object."

#: Of other JSON, as the schema says it.
NO_OBJECT = "Not a JSON object."

#: Of what is written there and has a field of its own.
ELSEWHERE = "This setting has a field of its own."


def named(host: Host) -> tuple[str, ...]:
    """The settings that a host's models can follow, which have fields; none without runs."""
    if host.run_model is None:
        return ()
    lacking = unsupported(host.run_table)
    known = [name for name in HINTS if name in SETTINGS]
    return tuple(name for name in dict.fromkeys([*known, *SETTINGS]) if name not in lacking)


def fields(key: str, names: Collection[str]) -> list[Field]:
    """The fields of the settings with these names.

    :param key: the name of the settings on the wire.
    """
    found = []
    for name in names:
        words = CHOICES.get(name, ())
        kind = "switch" if name in SWITCHES else "number" if name in NUMBERS else "choice"
        found.append(
            Field(
                key=key_of(key, name),
                kind=kind,
                attribute=name,
                words=words,
                default=words[0] if words else None,
                name=name.replace("_", " ").capitalize(),
                own_hint=HINTS.get(name),
            )
        )
    return found


def key_of(key: str, name: str) -> str:
    """The key of a setting in a form."""
    return f"{key}.{name}"


def texts(key: str, names: Collection[str], settings: t.Any) -> dict[str, str]:
    """What stands in the fields of the settings, by their keys in the form.

    >>> texts("settings", ["order", "paused"], {"order": "backwards", "team": 1})
    {'settings.order': 'backwards', 'settings.paused': '', 'settings': '{\\n  "team": 1\\n}'}
    """
    there = settings if isinstance(settings, Mapping) else {}
    found = {key_of(key, name): _text(name, there.get(name)) for name in names}
    own = {name: value for name, value in there.items() if name not in names}
    if not isinstance(settings, Mapping):
        return {**found, key: text_of(settings)}
    return {**found, key: text_of(own) if own else ""}


def _text(name: str, value: t.Any) -> str:
    if name in SWITCHES:
        return TICKED if value is True else ""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


class Change(t.NamedTuple):
    """What a user has changed of the settings."""

    #: By name, what was written; ``None`` for what was cleared.
    ours: dict[str, t.Any]
    #: The host's own keys; ``None`` if they stay as they are.
    own: dict[str, t.Any] | None
    #: Those that have fields.
    names: Collection[str]

    def of(self, stored: t.Any) -> dict[str, t.Any]:
        """The settings to write: what is stored, with what the user has changed.

        >>> change = Change({"order": "backwards", "canary": None}, None, ["order", "canary"])
        >>> change.of({"canary": 3, "team": 1})
        {'team': 1, 'order': 'backwards'}
        >>> Change({}, {"team": 2}, ["order"]).of({"order": "backwards", "team": 1, "gone": 1})
        {'order': 'backwards', 'team': 2}
        """
        found = dict(stored) if isinstance(stored, Mapping) else {}
        if self.own is not None:
            found = {name: value for name, value in found.items() if name in self.names}
            found |= self.own
        found |= self.ours
        cleared = {name for name, value in self.ours.items() if value is None}
        return {name: value for name, value in found.items() if name not in cleared}


def value_of(field: Field) -> t.Any:
    """What a user has written into the field of a setting; ``None`` for nothing."""
    if field.kind == "switch":
        return field.text == TICKED
    # What is no number is refused with the rest.
    return field.text.strip() or None


def wrong(own: t.Any, names: Collection[str]) -> dict[str, list[str]] | list[str]:
    """What to say of what stands among the host's own keys; nothing if it is right."""
    if not isinstance(own, dict):
        return [NO_OBJECT]
    return {name: [ELSEWHERE] for name in own if name in names}
