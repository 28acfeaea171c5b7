"""The connections of a host's engine, as far as they decide how many runs it can serve."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.pool import SingletonThreadPool

#: Connections that a worker needs beside one for each run: to claim, and to renew leases.
MORE = 2


def lacks_connections(engine: sa.Engine, concurrency: int) -> str | None:
    """Why an engine can't serve so many runs at a time, and what to do.

    A lease could not be renewed while runs have all connections.
    """
    pool = engine.pool
    if concurrency > 1 and isinstance(pool, sa.StaticPool):
        return (
            "SQLite's memory has one connection for all threads: use a file, or a concurrency of 1."
        )
    if isinstance(pool, SingletonThreadPool):
        return (
            "Each thread has a SQLite database of its own in memory: use a file, or create the"
            " engine with poolclass=sqlalchemy.StaticPool."
        )
    # Below zero, it has no limit.
    overflow = getattr(pool, "_max_overflow", 0)
    if not isinstance(pool, sa.QueuePool) or overflow < 0:
        return None
    most, needed = pool.size() + overflow, concurrency + MORE
    if most >= needed:
        return None
    return (
        f"The engine's pool has {most} connections, and a concurrency of {concurrency} needs"
        f" {needed}: set a larger pool_size in SQLALCHEMY_ENGINE_OPTIONS."
    )
