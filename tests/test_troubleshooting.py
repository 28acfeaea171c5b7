"""The page of what goes wrong: what it quotes is what the package says."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/troubleshooting.md").read_text()

#: What others say: Python, Flask, Flask-WTF, Celery.
OTHERS = {
    "The CSRF token is missing",
    "ModuleNotFoundError: No module named 'flask_wtf'",
    "Error: No such command 'backfills'",
    "ValueError: The name 'backfills' is already registered",
    "ZoneInfoNotFoundError",
    "ResourceWarning",
    "AttributeError: 'NoneType' object has no attribute 'Redis'",
    "No module named 'packaging'",
    "AttributeError: 'Flask' object has no attribute 'user_options'",
}

#: A value of the app's, in a text of the package.
VALUE = "\0"


@functools.cache
def texts():
    """Each text of the package, with a mark where it has a value."""
    return [*find_texts()]


def find_texts():
    for file in sorted((ROOT / "flask_backfills").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"%[sdr]", VALUE, node.value)
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    one.value if isinstance(one, ast.Constant) else VALUE for one in node.values
                )


def quoted():
    """What the first column of a table quotes, as the package is meant to say it."""
    for row in re.findall(r"^\| (?!what you see)(.*?) \| ", PAGE, re.M):
        for one in re.findall(r"`([^`]+)`|\"([^\"]+)\"", row):
            found = "".join(one)
            if " " in found and found not in OTHERS:
                yield found


@pytest.mark.parametrize("told", sorted(set(quoted())))
def test_what_the_page_quotes_is_what_the_package_says(told):
    plain = re.sub(r"^\w+Error: ", "", told)
    if plain.startswith("app.config['"):
        plain = re.sub(r"'[^']*'", "...", plain)
    known = [part.strip(" .,:") for part in plain.split("...")]
    assert any(all(part in text for part in known) for text in texts()), told


def test_the_page_quotes_most_of_what_it_is_about():
    assert len(set(quoted())) > 40
