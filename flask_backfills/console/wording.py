"""The words of the pages: translated where the host says how, and what callers wrote apart."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

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
    """

    def translate(text: str, **values: t.Any) -> str:
        # What is filled in may be markup, and what is not is escaped then.
        told = translations.get(text, text)
        if any(hasattr(value, "__html__") for value in values.values()):
            return escape(told).format(**values)
        return told.format(**values) if values else told

    return translate


def words(told: t.Any) -> Markup:
    """What a caller or a run wrote, for a page: it can't turn or hide the text around it."""
    # Escaped first: what the host marks as safe stays.
    return Markup(f"<bdi>{seen(str(escape(told)))}</bdi>")
