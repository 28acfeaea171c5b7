"""Shares of a whole in words: what is almost nothing, or almost all, is not told as if it was."""

from fractions import Fraction

from conftest import often
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from flask_backfills.rules.shares import percent

wholes = st.integers(1, 10**9)


@settings(max_examples=often(300))
@given(wholes, wholes, wholes)
def test_a_share_is_told_neither_as_nothing_nor_as_all_unless_it_is(one, other, whole):
    low, high = sorted((min(one, whole), min(other, whole)))
    shown = [percent(part, whole) for part in (0, low, high, whole)]
    assert (shown[0], shown[-1]) == ("0%", "100%")
    told = [Fraction(text.removesuffix("%")) for text in shown]
    # More is never told as less.
    assert told == sorted(told)
    for part, figure in zip((low, high), told[1:3], strict=True):
        assert (figure == 100) == (part == whole) and figure > 0
        # Right to the half of what its last digit counts, but for the very ends.
        exact = Fraction(100 * part, whole)
        digits = len(percent(part, whole).removesuffix("%").partition(".")[2])
        near = abs(figure - exact) <= Fraction(51, 100) / 10**digits
        assert near or figure in (Fraction("0.01"), Fraction("99.99")), (part, whole)
        # Whole where that says enough.
        assert not digits or exact < 1 or exact > 99
