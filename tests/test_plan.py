"""What a plan promises, of any wanted runs and any existing ones."""

from collections import Counter

import pytest
from conftest import often
from conftest import unwatched
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from flask_backfills.rules.plan import plan
from flask_backfills.rules.plan import REPROCESS
from flask_backfills.rules.plan import Run
from flask_backfills.rules.plan import RunningConflict
from flask_backfills.rules.plan import Tally
from flask_backfills.rules.plan import Wanted

KEYS = st.sampled_from("abcdefgh")
ENDS = st.sampled_from([None, 1, 2])
STATUSES = ["initial", "running", "completed", "failed", "cancelled"]
REPROCESSES = st.sampled_from([None, *REPROCESS])


def wanted_runs():
    one = st.builds(Wanted, KEYS, st.none(), ENDS, st.none())
    return st.lists(one, unique_by=lambda one: one.key, max_size=8)


def runs(statuses=STATUSES):
    one = st.builds(
        Run, st.uuids(), KEYS, st.none(), ENDS, st.sampled_from(statuses), st.booleans()
    )
    return st.lists(one, unique_by=lambda one: one.key, max_size=8).map(
        # What waits is always wanted: what isn't is dropped.
        lambda found: [r._replace(wanted=r.wanted or r.status == "initial") for r in found]
    )


def apply(entries):
    """What is there once a plan is done."""
    for entry in entries:
        if entry.action == "drop" or (entry.action == "skip" and entry.run is None):
            continue
        if entry.action == "skip":
            stays = entry.run.status == "completed" and entry.run.end == entry.wanted.end
            yield entry.run._replace(wanted=stays)
        elif entry.wanted is None:
            yield entry.run._replace(wanted=False)
        elif entry.action == "keep":
            yield entry.run._replace(end=entry.wanted.end, wanted=True)
        else:
            wanted = entry.wanted
            yield Run(entry.id or wanted.key, wanted.key, None, wanted.end, "initial")


def made(wanted, there, reprocess):
    try:
        return list(plan(wanted, there, reprocess))
    except RunningConflict as conflict:
        ends = {one.key: one.end for one in wanted}
        keys = {r.key for r in there if r.status == "running" and r.key in ends}
        assert conflict.args and set(conflict.args) <= keys
        return None


@settings(max_examples=often(200))
@given(wanted_runs(), runs(), REPROCESSES)
def test_a_plan_that_is_done_keeps_all(wanted, there, reprocess):
    entries = made(wanted, there, reprocess)
    if entries is None:
        return
    after = list(apply(entries))
    tally = Tally(None)
    again = list(tally.read(plan(wanted, after, reprocess)))
    # A start ends with nothing to run again only because what it runs again waits now.
    assert {entry.action for entry in again} <= {"keep"}
    assert not any(entry.write for entry in again)
    assert tally.counts["keep"] == len(wanted)


@unwatched
@settings(max_examples=often(200))
@given(wanted_runs(), runs(), REPROCESSES)
def test_each_key_has_one_entry_and_nothing_is_lost(wanted, there, reprocess):
    entries = made(wanted, there, reprocess)
    if entries is None:
        return
    keys = Counter(entry.key for entry in entries)
    assert keys == Counter({one.key for one in wanted} | {run.key for run in there})
    assert all(entry.reason for entry in entries)
    ends = {one.key: one.end for one in wanted}
    for entry in entries:
        run = entry.run
        if run and run.status == "completed" and ends.get(run.key, 0) == run.end:
            assert entry.action == ("redo" if reprocess == "all" else "keep")
        if entry.action == "drop":
            assert run.status == "initial" and run.key not in ends
        if run and run.status == "running":
            assert entry.action == "keep"


@settings(max_examples=often(100))
@given(wanted_runs(), runs(), REPROCESSES)
def test_the_tally_is_what_there_is_afterwards(wanted, there, reprocess):
    entries = made(wanted, there, reprocess)
    if entries is None:
        return
    tally = Tally(None)
    list(tally.read(entries))
    assert tally.statuses == Counter(run.status for run in apply(entries) if run.wanted)
    assert sum(tally.counts.values()) == len(
        [e for e in entries if e.wanted is not None or e.action == "drop"]
    )


@settings(max_examples=often(100))
@given(wanted_runs(), runs(), REPROCESSES, st.data())
def test_the_hash_is_another_where_another_thing_happens(wanted, there, reprocess, data):
    def hashed(wanted, there, about=None):
        tally = Tally(about)
        entries = made(wanted, there, reprocess)
        return None if entries is None else [list(tally.read(entries)), tally.hash()][1]

    first = hashed(wanted, there)
    if first is None:
        return
    assert first == hashed(wanted, there)
    assert first != hashed(wanted, there, {"variables": {"a": 1}})
    if wanted:
        fewer = list(wanted)
        gone = fewer.pop(data.draw(st.integers(0, len(wanted) - 1)))
        if not any(run.key == gone.key for run in there):
            assert first != hashed(fewer, there)


ELSEWHERE = st.dictionaries(KEYS, st.integers(1, 3))


@unwatched
@settings(max_examples=often(200))
@given(wanted_runs(), runs(), REPROCESSES, ELSEWHERE)
def test_what_is_completed_elsewhere_neither_runs_nor_counts_as_failed(
    wanted, there, reprocess, elsewhere
):
    tally = Tally(None)
    try:
        entries = list(tally.read(plan(wanted, there, reprocess, elsewhere=elsewhere)))
    except RunningConflict as conflict:
        assert not set(conflict.args) & elsewhere.keys()
        return
    after = list(apply(entries))
    ends = {one.key: one.end for one in wanted}
    for entry in entries:
        if entry.key in elsewhere and entry.key in ends:
            assert entry.action in ("skip", "drop", "keep")
            if entry.action != "keep":
                assert entry.reason == f"Completed in backfill {elsewhere[entry.key]}."
        else:
            assert entry.action != "skip"
    for run in after:
        if run.wanted and run.key in elsewhere:
            assert run.status in ("completed", "running") and run.end == ends[run.key]
    assert tally.statuses == Counter(run.status for run in after if run.wanted)
    assert tally.counts["skip"] == len([e for e in entries if e.action == "skip"])
    again = list(plan(wanted, after, reprocess, elsewhere=elsewhere))
    assert {entry.action for entry in again} <= {"keep", "skip"}
    assert not any(entry.write for entry in again)


def test_the_hash_says_which_runs_are_skipped():
    def hashed(key):
        tally = Tally(None)
        wanted = [Wanted("a", None, None), Wanted("b", None, None)]
        list(tally.read(plan(wanted, [], "failed", elsewhere={key: 12})))
        return tally.hash()

    assert hashed("a") != hashed("b")


@pytest.mark.parametrize(
    ("status", "reprocess", "action"),
    [
        ("completed", None, "keep"),
        ("failed", None, "keep"),
        ("cancelled", None, "keep"),
        ("completed", "failed", "keep"),
        ("failed", "failed", "redo"),
        ("cancelled", "failed", "redo"),
        ("completed", "all", "redo"),
        ("failed", "none", "keep"),
        ("initial", "all", "keep"),
    ],
)
def test_reprocess_decides_what_runs_again(status, reprocess, action):
    [entry] = plan([Wanted("a", None, None)], [Run(1, "a", None, None, status)], reprocess)
    assert entry.action == action
