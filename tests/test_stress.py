"""The short form of tests/stress.py on each database, and each of its checks on facts that are wrong.

The long form is run by hand: see the program.
"""

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import stress_checks
from conftest import DATABASES
from stress_checks import HISTORY
from stress_checks import STATE
from stress_checks import violations
from stress_facts import Facts
from stress_host import amount_of

PROGRAM = Path(__file__).with_name("stress.py")

#: The others are tried by hand: a case takes most of a minute.
LEVELS = {
    "sqlite": [[]],
    "postgresql": [["--isolation", level] for level in ("READ COMMITTED", "SERIALIZABLE")],
    "mariadb": [
        ["--isolation", "REPEATABLE READ"],
        ["--isolation", "REPEATABLE READ", "--snapshot"],
    ],
}


def stress(url, *options):
    """Run the program; what it printed, if nothing was wrong."""
    command = [sys.executable, PROGRAM, url, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


#: Minutes, and what it finds depends on the machine's load: ``.ci/run`` runs it apart.
LONG = pytest.mark.skipif(
    os.environ.get("BACKFILLS_TEST_STRESS") != "true",
    reason="the stress program takes minutes: set BACKFILLS_TEST_STRESS=true",
)


@LONG
@pytest.mark.parametrize(
    ("database_url", "options"),
    [(name, options) for name in DATABASES for options in LEVELS[name]],
    indirect=["database_url"],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_every_run_is_done_and_its_end_recorded_once_whatever_happens(database_url, options):
    few = ["--lease", "3"]
    if "sqlite" in database_url:
        # All wait for one lock, heartbeats too.
        few = ["--workers", "2", "--concurrency", "2", "--lease", "4"]
    told = stress(database_url, "--seconds", "8", "--drain", "60", *options, *few)
    assert "WRONG" not in told


Backfill = namedtuple(
    "Backfill", "id status variables metrics start_datetime end_datetime interval_units"
)
Run = namedtuple("Run", "id backfill_id key execution_date status attempt wanted completed_at")
Effect = namedtuple("Effect", "id backfill_id run_id attempt incarnation key amount")
Entry = namedtuple(
    "Entry",
    "at backfill_id run_id run_key old_attempt new_attempt old_status new_status seen left_open",
    defaults=[0],
)

FIRST, SECOND = "2023-03-01T00:00:00", "2023-03-01T00:01:00"
CONFIG = {
    "url": "postgresql:",
    "seed": 1,
    "lease": 2,
    "without": ["raises", "flaky", "exits", "cancels", "long"],
}


def begin(number, run, key, at, pid=7, attempt=1):
    note = {"what": "begin", "at": at, "number": number, "pid": pid, "run": run, "claimed": at}
    return {**note, "backfill": 1, "incarnation": 1, "key": key, "attempt": attempt}


def end(number, at):
    return {"what": "end", "at": at, "number": number, "pid": 7, "late": 0}


def good():
    """Two runs of a backfill, done one after the other by one worker."""
    amounts = amount_of(1, FIRST) + amount_of(1, SECOND)
    window = ["2023-03-01 00:00:00", "2023-03-01 00:01:00", 1]
    metrics = {"amount": amounts, "runs": 2}
    runs = [(11, FIRST), (12, SECOND)]
    ledger = []
    for run, key in runs:
        ledger.append(Entry(100, 1, run, key, 1, 1, "initial", "running", None))
        ledger.append(Entry(101, 1, run, key, 1, 1, "running", "completed", 100))
    return Facts(
        {**CONFIG},
        [Backfill(1, "completed", {"incarnation": 1}, metrics, *window)],
        [Run(run, 1, key, key.replace("T", " "), "completed", 1, True, 101) for run, key in runs],
        [Effect(run, 1, run, 1, 1, key, amount_of(1, key)) for run, key in runs],
        ledger,
        [
            {"what": "planned", "at": 99, "incarnation": 1, "window": window},
            {"what": "limit", "incarnation": 1, "limit": 1, "ok": True, "sent": 98, "answered": 99},
            begin("a", 11, FIRST, 100),
            end("a", 101),
            begin("b", 12, SECOND, 101.1),
            end("b", 102),
            {"what": "signal", "at": 110, "pid": 7, "number": 15},
            {"what": "exit", "at": 111, "pid": 7, "code": 0},
        ],
    )


def of_run(facts, **values):
    facts.runs[0] = facts.runs[0]._replace(**values)


def of_backfill(facts, **values):
    facts.backfills[0] = facts.backfills[0]._replace(**values)


def take_back(facts, at, seen):
    entry = Entry(at, 1, 11, FIRST, 1, 2, "running", "initial", seen)
    facts.ledger.insert(0, entry)


def note(facts, *entries):
    facts.journal.extend(entries)


#: What is done to good facts, and the checks that must see it.
WRONG = {
    "waits": (lambda f: of_run(f, status="initial"), "every_wanted_run_has_ended"),
    "runs": (lambda f: of_run(f, status="running"), "no_backfill_has_ended_with_something_to_do"),
    "held": (
        lambda f: of_run(f, status="cancelled", completed_at=None),
        "no_cancelled_run_is_held",
    ),
    "lost effect": (lambda f: f.effects.pop(), "every_effect_is_there_once"),
    "twice": (lambda f: f.effects.append(f.effects[0]), "every_effect_is_there_once"),
    "of a failure": (
        lambda f: f.effects.append(f.effects[0]._replace(attempt=2)),
        "every_effect_is_there_once",
    ),
    "of a deleted one": (
        lambda f: of_backfill(f, variables={"incarnation": 2}),
        "every_effect_is_of_its_run",
    ),
    "ended twice": (lambda f: f.ledger.append(f.ledger[-1]), "every_end_is_recorded_once"),
    "from nowhere": (
        lambda f: f.ledger.append(f.ledger[-1]._replace(old_status="initial", new_attempt=3)),
        "every_end_is_recorded_once",
    ),
    "more metrics": (
        lambda f: f.backfills[0].metrics.update(runs=3),
        "metrics_equal_the_effects",
    ),
    "less metrics": (lambda f: of_backfill(f, metrics=None), "metrics_equal_the_effects"),
    "active": (
        lambda f: of_backfill(f, status="running"),
        "no_backfill_is_active_with_nothing_to_do",
    ),
    "failed without": (
        lambda f: of_backfill(f, status="failed"),
        "every_backfill_ended_as_its_runs_did",
    ),
    "completed with": (
        lambda f: of_run(f, status="failed"),
        "every_backfill_ended_as_its_runs_did",
    ),
    "missing": (lambda f: f.runs.pop(), "every_planned_run_is_there"),
    "hopeless": (
        lambda f: f.config.update(seed=hopeless_seed(), without=[]),
        "what_raises_has_not_completed",
    ),
    "limit": (lambda f: f.journal.insert(2, begin("c", 13, "x", 99.5)), "the_limit_is_kept"),
    "at once": (
        lambda f: note(f, begin("c", 11, FIRST, 100.5, attempt=2), end("c", 103)),
        "no_run_is_executed_twice_at_once",
    ),
    "lapse": (lambda f: take_back(f, 100.5, 98), "no_worker_that_lives_loses_its_lease"),
    "lost end": (lambda f: take_back(f, 104, 100.5), "no_end_is_lost_while_its_worker_lives"),
    "by itself": (
        lambda f: note(f, {"what": "exit", "at": 111, "pid": 8, "code": 1}),
        "workers_end_only_when_told",
    ),
    "a 500": (
        lambda f: note(
            f,
            {"what": "answer", "method": "GET", "status": 500, "sent": "", "told": "", "others": 0},
        ),
        "requests_are_answered",
    ),
}


def hopeless_seed():
    """One with which the first run raises."""
    config = {"without": []}
    seeds = ({**config, "seed": seed} for seed in range(10_000))
    return next(
        config["seed"]
        for config in seeds
        if stress_checks.nature_of(config, 1, FIRST) in stress_checks.HOPELESS
    )


def test_what_is_good_passes_every_check():
    assert not any(violations(good()).values())


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_seen(name):
    spoil, check = WRONG[name]
    facts = good()
    spoil(facts)
    assert list(getattr(stress_checks, check)(facts))


def test_every_check_is_seen_to_fail():
    assert {check for _, check in WRONG.values()} == {one.__name__ for one in (*STATE, *HISTORY)}


def test_a_run_that_was_killed_may_be_done_again():
    facts = good()
    of_it = [one for one in facts.journal if one["what"] in ("limit", "begin")]
    facts.journal[:] = [*of_it[:2], {"what": "exit", "at": 100.4, "pid": 7, "code": -9}]
    note(facts, begin("c", 11, FIRST, 102.5, pid=8, attempt=2), {**end("c", 103), "pid": 8})
    assert not list(stress_checks.no_run_is_executed_twice_at_once(facts))
    assert not list(stress_checks.the_limit_is_kept(facts))


def test_a_worker_that_stands_still_may_lose_its_lease():
    facts = good()
    take_back(facts, 100.9, 98)
    note(facts, {"what": "stands", "at": 100.1, "pid": 7}, {"what": "goes on", "at": 102, "pid": 7})
    assert not list(stress_checks.no_worker_that_lives_loses_its_lease(facts))


def test_what_a_second_worker_loses_was_not_taken_from_the_first():
    facts = good()
    given = Entry(100.5, 1, 11, FIRST, 1, 1, "running", "initial", 100.4)
    again = Entry(101, 1, 11, FIRST, 1, 1, "initial", "running", None)
    facts.ledger[1:1] = [given, again]
    facts.journal[2:4] = [begin("a", 11, FIRST, 100.1), end("a", 100.4)]
    take_back(facts, 104, 101)
    facts.ledger.append(facts.ledger.pop(0))
    assert not list(stress_checks.no_end_is_lost_while_its_worker_lives(facts))
