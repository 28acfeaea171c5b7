"""What every contender's task does: it notes when it ran, and in which process.

So that all are measured by the same clock, whatever they store of a run.
"""

import os
import struct
import time

_MARK = struct.Struct("=di")
_FILE = None


def mark():
    global _FILE
    if _FILE is None:
        _FILE = os.open(os.environ["BENCHMARK_MARKS"], os.O_WRONLY | os.O_APPEND)
    os.write(_FILE, _MARK.pack(time.time(), os.getpid()))


def read(path):
    """Each task's moment and process, in the order in which they ran."""
    return sorted(_MARK.iter_unpack(path.read_bytes()))
