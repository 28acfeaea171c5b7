"""The pytest plugin, loaded by its name: ``pytest_plugins = ["flask_backfills.testing.plugin"]``.

PYTEST_DONT_REWRITE: it has no assertions, and may be imported before pytest loads it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .kit import Kit

NO_APP = (
    "the fixture `backfills` needs a fixture `app` of yours, which gives the Flask app with your"
    " BackfillBlueprint: write one in conftest.py, such as\n\n"
    "    @pytest.fixture\n"
    "    def app():\n"
    "        return create_app()"
)


@pytest.fixture
def backfills(request: pytest.FixtureRequest) -> Iterator[Kit]:
    """The backfills of your ``app``: make them, perform their runs, and move the time."""
    try:
        app = request.getfixturevalue("app")
    except pytest.FixtureLookupError as error:
        if error.argname != "app":
            raise
        pytest.fail(NO_APP, pytrace=False)
    try:
        kit = Kit(app)
    except (RuntimeError, TypeError) as error:
        pytest.fail(f"the fixture `backfills`: {error}", pytrace=False)
    with kit:
        yield kit
