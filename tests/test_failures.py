"""Errors that differ only in numbers, dates and ids count as one failure."""

import re
import uuid
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_backfills.rules.failures import COMPARED
from flask_backfills.rules.failures import DIFFERS
from flask_backfills.rules.failures import failures
from flask_backfills.rules.failures import Seen
from flask_backfills.rules.failures import shape_of

#: Texts in which nothing varies.
WORDS = st.text("abc XYZ'()=é\n", max_size=20)

#: An error of HTTP, which is none of what varies.
STATUS = r"[45][0-9]{2}"

#: What varies, of each kind.
VARYING = st.one_of(
    st.integers().map(str),
    st.integers(0).map("{:,}".format),
    st.floats(0, 1e6).map("{:.3f}".format),
    st.datetimes().map(datetime.isoformat),
    st.dates().map(str),
    st.uuids().map(str),
    st.integers(0, 2**64).map(hex),
    st.from_regex(r"[a-z]{0,3}\d[a-z0-9]{0,5}", fullmatch=True),
).filter(lambda text: not re.fullmatch(STATUS, text))


def named(error):
    return shape_of(error).name()


@given(st.lists(st.tuples(WORDS, VARYING, VARYING), max_size=4), WORDS)
def test_errors_that_differ_only_in_what_varies_are_one(parts, end):
    # A word apart, so that what varies is not a part of one.
    one = "".join(f"{word} {first} " for word, first, _ in parts) + end
    other = "".join(f"{word} {second} " for word, _, second in parts) + end
    if max(len(one), len(other)) <= COMPARED:
        assert named(one) == named(other)
        [group] = failures([Seen(text, 1) for text in {one, other}])
        assert group.runs == len({one, other})


@given(WORDS, WORDS)
def test_errors_that_differ_in_a_word_are_two(one, other):
    assert (named(f"{one} 5") == named(f"{other} 7")) == (one == other)


@given(st.text(max_size=COMPARED))
def test_an_error_is_put_together_again_from_its_shape(error):
    shape = shape_of(error)
    parts = [part for pair in zip(shape.kept, (*shape.varies, ""), strict=True) for part in pair]
    assert "".join(parts) == error
    # A second way: what has a digit varies, and nothing with a digit stays.
    assert not any(re.search(r"\d", re.sub(STATUS, "", part)) for part in shape.kept)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(1, 9)), max_size=9))
def test_groups_have_as_many_runs_as_their_errors(found):
    seen = [Seen(f"{word} failed at {number}", count) for word, number, count in found]
    groups = failures(seen)
    assert sum(one.runs for one in groups) == sum(one.runs for one in seen)
    assert [one.runs for one in groups] == sorted((one.runs for one in groups), reverse=True)
    assert len(groups) == len({word for word, *_ in found})


def test_what_all_errors_of_a_group_share_is_shown():
    both = failures([Seen("502 from shop 7", 1), Seen("502 from shop 8", 1)])
    assert [one.message for one in both] == [f"502 from shop {DIFFERS}"]


@pytest.mark.parametrize("text", ["x" * 100_000, "1" * 100_000, "1-" * 50_000, "a-" * 50_000])
def test_a_long_error_is_compared_as_far_as_it_counts(text):
    assert sum(map(len, (*shape_of(text).kept, *shape_of(text).varies))) == COMPARED


def test_errors_of_http_are_told_apart():
    groups = failures([Seen("502 upstream", 30), Seen("404 upstream", 2), Seen("row 5021", 1)])
    assert [one.message for one in groups] == ["502 upstream", "404 upstream", "row 5021"]
    assert named("row 5021") == named("row 4040") and named("404-1") == named("502-1")


def test_an_id_is_not_told_from_another():
    assert named(f"no row {uuid.uuid4()}") == named("no row deadbeef-dead-beef-dead-beefdeadbeef")
    assert named("no row 0x7f3a") == named("no row 0x1c")
    assert named("no row x") != named("no row y")
