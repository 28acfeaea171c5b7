"""The words of the pages: translated where the host says how, and what callers wrote apart."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from string import Formatter

from markupsafe import escape
from markupsafe import Markup

from ..rules.sight import seen

#: Gives a text of the pages in the words of the host's users, with its values filled in.
Translate = t.Callable[..., str]


def translator(translations: Mapping[str, str]) -> Translate:
    """A function that translates the texts of the pages.

    >>> _ = translator({"{count} runs": "{count} Läufe"})
    >>> _("{count} runs", count=3), _("Edit")
    ('3 Läufe', 'Edit')

    :param translations: each text, with its ``{names}``, and what stands for it. A text that is
        not in it stays as it is.
    :raises ValueError: if a translation can't be filled in as its text can.
    """
    for text, told in translations.items():
        _check(text, told)

    def translate(text: str, **values: t.Any) -> str:
        # What is filled in may be markup, and what is not is escaped then.
        told = translations.get(text, text)
        if any(hasattr(value, "__html__") for value in values.values()):
            return escape(told).format(**values)
        return told.format(**values) if values else told

    return translate


def _check(text: str, told: t.Any) -> None:
    """Refuse a translation that would fail on each page that shows it.

    >>> _check("{count} runs", "{number} L\u00e4ufe")
    Traceback (most recent call last):
    ...
    ValueError: the translation '{number} L\u00e4ufe' can have only the names of '{count} runs'
    """
    names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    # Lazy ones need a request. And not each brace begins a name, such as in an example of JSON.
    if not isinstance(told, str) or not all(map(str.isidentifier, names)):
        return
    try:
        told.format(**dict.fromkeys(names, ""))
    except (LookupError, ValueError, AttributeError):
        message = f"the translation {told!r} can have only the names of {text!r}"
        raise ValueError(message) from None


def words(told: t.Any) -> Markup:
    """What a caller or a run wrote, for a page: it can't turn or hide the text around it."""
    # Escaped first: what the host marks as safe stays.
    return Markup(f"<bdi>{seen(str(escape(told)))}</bdi>")
