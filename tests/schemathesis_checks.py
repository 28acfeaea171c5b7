"""What Schemathesis checks beside its own."""

import json

import schemathesis

#: What a request that fits the schema may still be told, since no schema can say it.
RULES = (
    "Must be on or before end_datetime.",
    "Must be on or after start_datetime.",
    "Must be after start_datetime.",
    "Send key or date, not both.",
    "Several runs have this date.",
    "Needed to plan the runs.",
    "Asks for",
    "No generator is registered as",
    "Must not be blank.",
    "Must not contain NUL or an unpaired surrogate.",
    "Not within the years 1 to 9999 in UTC.",
    "Not an ISO 8601 date",  # a leap second fits the schema's format
    "A backfill that is",
    "Must be one of: f",  # keys of settings
    "Must be greater than or equal to 1.",
    "Must be true or false.",
    "Not a valid",
    "No URL reaches this name",  # "." and ".."
    "Was used for another request.",  # an Idempotency-Key
    "Field may not be null.",  # null may only be sent back where it is
)


@schemathesis.check
def a_422_to_valid_data_names_a_rule_that_crosses_keys(ctx, response, case):
    meta = case.meta
    if response.status_code != 422 or meta is None or meta.generation.mode.is_negative:
        return
    if meta.phase.name == "stateful":
        return  # there it puts keys of other answers beside the body's own
    for key, messages in response.json()["error"]["errors"].items():
        for message in _leaves(messages):
            assert message.startswith(RULES), f"{key}: {message}"


def _leaves(messages):
    if isinstance(messages, str):
        return [messages]
    nested = messages.values() if isinstance(messages, dict) else messages
    return [leaf for one in nested for leaf in _leaves(one)]


@schemathesis.check
def every_error_is_an_envelope(ctx, response, case):
    if response.status_code >= 400 and response.status_code != 405:
        assert response.headers["content-type"] == ["application/json"], response.text
        error = json.loads(response.text)["error"]
        assert error["code"] == response.status_code and error["message"]
        assert not any(word in response.text for word in ("Traceback", "SELECT ", "sqlalchemy"))
