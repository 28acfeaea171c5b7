"""What a reader can see of a text: whether it is blank, and how to show what is hidden in it."""

from __future__ import annotations

import unicodedata

#: Categories of what has no shape of its own but may turn, hide or cut the text around it: controls,
#: format characters (such as U+202E and U+200B), halves of surrogate pairs, separators of lines.
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}

#: Letters and symbols that look like a space.
EMPTY = "\u115f\u1160\u2800\u3164\uffa0"


def is_blank(text: str) -> bool:
    r"""Whether nothing of a text can be seen.

    >>> is_blank(" \u200b\u202e"), is_blank(""), is_blank("\u202eJuly")
    (True, True, False)
    """
    return not any(_has_shape(char) for char in text)


def seen(text: str) -> str:
    r"""The same text, with its hidden characters spelled out. Tabs and line breaks stay.

    >>> seen("July\u202e 2023\n")
    'July[U+202E] 2023\n'
    """
    if text.isprintable():
        return text
    return "".join(f"[U+{ord(char):04X}]" if _is_hidden(char) else char for char in text)


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in HIDDEN and char not in "\t\n\r"


def _has_shape(char: str) -> bool:
    # Accents and other marks need a letter to stand on.
    category = unicodedata.category(char)
    return category not in HIDDEN and category[0] not in "ZM" and char not in EMPTY
