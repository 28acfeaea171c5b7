"""How many runs a worker claims: as many as it has threads, and more where runs are short."""

from __future__ import annotations

#: Seconds of work that a worker claims beyond what its threads do, where runs are that short;
#: and how many runs that may be for each thread.
AHEAD = 0.2
MOST_AHEAD = 32

#: How much the newest run counts for how long runs take.
NEWEST = 0.1

#: Seconds without a look at what has ended, at most.
AT_MOST = 0.01


class Ahead:
    """Counts for one worker.

    >>> ahead = Ahead(threads=4)
    >>> ahead.most
    4
    >>> for _ in range(100):
    ...     ahead.took(0.001)
    >>> ahead.most, ahead.spare(80), ahead.spare(20)
    (132, 14, -46)
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.forget()

    def forget(self) -> None:
        """Take runs for long ones until some were short again."""
        #: Seconds that a run takes, by those that ended last.
        self.pace = 1.0

    def took(self, seconds: float) -> None:
        """Take note of how long a run took."""
        self.pace += NEWEST * (seconds - self.pace)

    @property
    def most(self) -> int:
        """How many runs to have at a time."""
        ahead = int(self.threads * (AHEAD / self.pace - 1))
        return self.threads + min(max(ahead, 0), MOST_AHEAD * self.threads)

    def spare(self, busy: int) -> int:
        """How many of the runs that it has may end before it is time to look for more."""
        return busy - max(self.threads, self.most // 2)

    def pause(self, busy: int) -> float:
        """Seconds in which no more than those will end: the threads need the time."""
        return min(max(self.spare(busy), 0) * self.pace / self.threads / 2, AT_MOST)
