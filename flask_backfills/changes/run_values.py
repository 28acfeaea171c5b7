"""What of a request decides how runs are done: the settings and the variables of a backfill."""

from __future__ import annotations

import typing as t

from .. import errors
from ..rules.settings import canary_of
from ..runs import canary
from ..tables.fields import same
from ..tables.run_table import RunTable
from ..tables.schema import BackfillSchema
from ..tables.settings import read_settings
from ..tables.settings import slips
from .expansion import too_large


def with_settings(
    schema: BackfillSchema, runs: RunTable, sent: dict[str, t.Any], backfill: t.Any
) -> tuple[dict[str, t.Any], errors.Errors]:
    """What was sent, with its settings as they are stored, and what is wrong with them."""
    key = schema.key_of("settings")
    if not _asks_for_an_object(schema, sent, key, backfill):
        return sent, {}
    settings, wrong = read_settings(sent[key])
    wrong = {**wrong, **slips(settings)}
    wrong |= {name: [told] for name, told in _lacking(settings, runs).items()}
    return {**sent, key: settings}, {key: wrong} if wrong else {}


def unsupported(runs: RunTable) -> dict[str, str]:
    """The settings that the host's models can't follow, and what each of them needs."""
    wrong = {}
    if "interval_end_datetime" not in runs.columns:
        told = "Needs the column interval_end_datetime in the model of runs."
        wrong["only_ended"] = told
    if not canary.is_mapped(runs.backfills):
        wrong["canary"] = "Needs the column canary_runs, of JSON, in the model of backfills."
    return wrong


def _lacking(settings: dict[str, t.Any], runs: RunTable) -> dict[str, str]:
    asks = {
        "only_ended": settings.get("only_ended") is True,
        "canary": canary_of(settings) is not None,
    }
    return {name: told for name, told in unsupported(runs).items() if asks[name]}


def wrong_variables(
    schema: BackfillSchema, sent: dict[str, t.Any], backfill: t.Any
) -> errors.Errors:
    key = schema.key_of("variables")
    if not _asks_for_an_object(schema, sent, key, backfill):
        return {}
    wrong = too_large(sent[key])
    return {key: [wrong]} if wrong else {}


def _asks_for_an_object(
    schema: BackfillSchema, sent: dict[str, t.Any], key: str, backfill: t.Any
) -> bool:
    """Whether an object was sent that is not what is stored: that may be older than a rule."""
    asked = sent.get(key)
    return isinstance(asked, dict) and not same(asked, schema.show_only([key], backfill).get(key))
