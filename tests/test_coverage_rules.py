"""What coverage promises, of any runs, against a second way: one look at each tick of a grid."""

from collections import Counter
from datetime import datetime
from datetime import timedelta
from fractions import Fraction
from itertools import chain
from itertools import groupby
from itertools import pairwise

import pytest
from conftest import often
from conftest import unwatched
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from flask_backfills.rules.coverage import completed_wholly
from flask_backfills.rules.coverage import coverage
from flask_backfills.rules.coverage import KINDS
from flask_backfills.rules.coverage import Run

TICKS = 24
ZERO = datetime(2023, 7, 1)
STATUSES = ["initial", "running", "completed", "failed", "cancelled"]


def at(tick):
    return ZERO + timedelta(microseconds=tick)


def runs(statuses=STATUSES, most=14):
    tick = st.integers(-3, TICKS + 3)
    one = st.tuples(tick, tick, st.sampled_from(statuses), st.integers(1, 4))
    # Also some that a database may hold and that cover nothing.
    row = st.builds(
        lambda start, step, count, status, backfill: [
            (start + step * k, start + step * (k + 1), status, backfill) for k in range(count)
        ],
        *(tick, st.integers(1, 5), st.integers(1, 6), st.sampled_from(statuses)),
        st.integers(1, 4),
    )
    some = st.one_of(one.map(lambda run: [run]), row)
    return st.lists(some, max_size=most).map(lambda found: [*chain.from_iterable(found)])


def given_as(found):
    return [Run(at(start), at(end), status, backfill) for start, end, status, backfill in found]


def told(tick, found):
    """By kind, the backfills of a tick; without a kind that it is not of."""
    there = [(status, backfill) for a, b, status, backfill in found if a <= tick < b]
    completed, running, failed = (
        [backfill for status, backfill in there if status == word]
        for word in ("completed", "running", "failed")
    )
    return {
        "covered": completed or None,
        "running": running or None,
        "failed": (failed or None) if not completed else None,
        "gaps": None if completed or running else [],
        "overlaps": completed if len(completed) >= 2 else None,
    }


def naive(kind, found, first, last):
    """The pieces of a kind: ticks in a row with the same backfills."""

    def of(tick):
        backfills = told(tick, found)[kind]
        return None if backfills is None else tuple(sorted(set(backfills)))

    for backfills, ticks in groupby(range(first, last), of):
        ticks = list(ticks)
        if backfills is not None:
            yield at(ticks[0]), at(ticks[-1] + 1), backfills


SPANS = st.tuples(st.integers(0, TICKS - 1), st.integers(1, TICKS)).filter(lambda s: s[0] < s[1])


@settings(max_examples=often(200))
@given(runs(), SPANS)
def test_each_piece_is_what_a_look_at_each_tick_finds(found, span):
    result = coverage(given_as(found), *map(at, span))
    for kind in KINDS:
        expected = list(naive(kind, found, *span))
        assert result.pieces[kind].page == expected, kind
        assert result.pieces[kind].total == len(expected)


@unwatched
@settings(max_examples=often(200))
@given(runs(), SPANS)
def test_the_share_is_cut_off_and_never_rounded_up(found, span):
    share = Fraction(str(coverage(given_as(found), *map(at, span)).share))
    ticks = range(*span)
    exact = Fraction(sum(told(tick, found)["covered"] is not None for tick in ticks), len(ticks))
    assert exact - Fraction(1, 10_000) < share <= exact


@unwatched
@settings(max_examples=often(200))
@given(runs(), SPANS, st.integers(0, 4), st.integers(1, 3))
def test_a_page_is_a_cut_of_the_whole_list(found, span, offset, limit):
    whole = coverage(given_as(found), *map(at, span))
    page = coverage(given_as(found), *map(at, span), offset, limit)
    for kind in KINDS:
        assert page.pieces[kind].page == whole.pieces[kind].page[offset : offset + limit]
        assert page.pieces[kind].total == whole.pieces[kind].total
    assert page.share == whole.share


@unwatched
@settings(max_examples=often(200))
@given(runs(), SPANS, st.randoms())
def test_the_order_of_the_runs_does_not_matter(found, span, random):
    whole = coverage(given_as(found), *map(at, span))
    random.shuffle(found)
    assert coverage(given_as(found), *map(at, span)) == whole


def test_one_missing_microsecond_of_nine_thousand_years_is_a_gap():
    first, last = datetime(1, 1, 1), datetime.max
    done = [Run(first, last - timedelta(microseconds=1), "completed", 1)]
    found = coverage(done, first, last)
    assert found.share == 0.9999
    assert found.pieces["gaps"].page == [(last - timedelta(microseconds=1), last, ())]
    whole = coverage([Run(first, last, "completed", 1)], first, last)
    assert (whole.share, whole.pieces["gaps"].total) == (1, 0)


def test_a_span_ends_after_it_starts():
    with pytest.raises(ValueError, match="end after it starts"):
        coverage([], ZERO, ZERO)


EDGES = st.lists(st.integers(0, TICKS), min_size=2, max_size=8, unique=True).map(sorted)


@unwatched
@settings(max_examples=often(200))
@given(runs(["completed", "completed", "completed", "failed"], most=8), EDGES)
def test_a_window_is_completed_wholly_if_one_backfill_has_each_of_its_ticks(found, edges):
    windows = list(pairwise(edges))
    expected = {}
    for first, last in windows:
        ticks = Counter(
            backfill
            for tick in range(first, last)
            for backfill in set(told(tick, found)["covered"] or ())
        )
        whole = [backfill for backfill, count in ticks.items() if count == last - first]
        if whole:
            expected[first] = min(whole)
    asked = [(first, at(first), at(last)) for first, last in windows]
    assert completed_wholly(asked, given_as(found)) == expected
