"""A worker: claims runs, averages a day of temperatures each, and tells how it went.

python examples/quickstart/worker.py
"""

import random
import time

from app import create_app


def temperatures(ds: str) -> list[float | None]:
    """The 24 hourly readings of a station on a day; at noon of every 13th there is none."""
    day = random.Random(ds)
    readings = [15 + 8 * (1 - abs(hour - 14) / 14) + day.gauss(0, 1) for hour in range(24)]
    return [None if ds.endswith("-13") and h == 12 else value for h, value in enumerate(readings)]


def process(run) -> dict:
    readings = temperatures(run.variables["ds"])
    if run.variables.get("skip_gaps"):
        readings = [value for value in readings if value is not None]
    if None in readings:
        raise ValueError(f"no reading at {readings.index(None)}:00")
    print(run.variables["ds"], f"{sum(readings) / len(readings):.1f} degrees", flush=True)
    return {"readings": len(readings)}


def work(app, seconds: float = 1.0, until_idle: bool = False) -> None:
    runs = app.blueprints["backfills"].runs
    with app.app_context():
        while True:
            found = runs.claim()
            for run in found:
                time.sleep(seconds)  # real work takes a while
                try:
                    runs.finish(run.id, "completed", process(run), attempt=run.attempt)
                except Exception as error:
                    print(run.variables["ds"], error, flush=True)
                    runs.finish(run.id, "failed", error=str(error), attempt=run.attempt)
            if not found and until_idle:
                return
            if not found:
                time.sleep(seconds)


if __name__ == "__main__":
    work(create_app())
