"""The process that has a run: its name in the run's ``worker``, and whether it is alive."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import uuid
from contextlib import suppress
from pathlib import Path


def name() -> str:
    """Name this process, and what it does now: ``host:process:place-chance``."""
    host = socket.gethostname()[:200]
    return f"{host}:{os.getpid()}:{_place()}-{uuid.uuid4().hex[:8]}"


def is_dead(worker: str | None) -> bool:
    """Whether a process of this place has ended. Of other places nothing is known."""
    host, _, rest = (worker or "").partition(":")
    pid, _, mark = rest.partition(":")
    here = host == socket.gethostname()[:200] and mark.partition("-")[0] == _place()
    if not here or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@functools.cache
def _place() -> str:
    """Where a process has its number: this start of the machine, and this container on it.

    Two containers may have the same host name, and each counts its processes from 1.
    """
    known = []
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        known.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:8]
