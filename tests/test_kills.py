"""A worker is killed at random moments of its work: by hand, ``tests/stress.py URL --kills 50``."""

from test_stress import LONG
from test_stress import stress


@LONG
def test_a_killed_worker_leaves_nothing_undone_and_nothing_done_twice(database_url):
    told = stress(database_url, "--kills", "5", "--lease", "1.5", "--concurrency", "2")
    assert "5 kills" in told and "WRONG" not in told
