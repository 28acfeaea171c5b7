"""Empty runs a second on 1, 2 and 4 worker processes, beside other queues.

.ci/with_servers .venv/bin/python benchmarks/throughput.py
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import redis_server
from queues import marks

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
ROUNDS = 3
PROCESSES = (1, 2, 4)
#: Runs that a process does at a time.
AT_A_TIME = 4
#: Seconds from when all processes are at work to the measurement, and of the measurement.
WARM_UP = 1
SECONDS = 3


class Contender(NamedTuple):
    title: str
    command: str
    #: How many runs its queue has at first: about as many as it can do in the time, or more.
    runs: int


CONTENDERS = {
    "ours": Contender(
        "Flask-Backfills",
        f"flask --app queues.ours backfills work --concurrency {AT_A_TIME}",
        10_000,
    ),
    "on_procrastinate": Contender(
        "Procrastinate",
        "procrastinate --app queues.on_procrastinate.app --log-level warning"
        f" worker --concurrency {AT_A_TIME}",
        10_000,
    ),
    "huey_on_postgresql": Contender(
        "Huey, PostgreSQL",
        f"huey_consumer queues.huey_on_postgresql.huey --quiet --workers {AT_A_TIME}",
        30_000,
    ),
    "huey_on_redis": Contender(
        "Huey, Redis",
        f"huey_consumer queues.huey_on_redis.huey --quiet --workers {AT_A_TIME}",
        40_000,
    ),
    "on_celery": Contender(
        "Celery, Redis",
        "celery --quiet --app queues.on_celery worker --pool threads"
        f" --concurrency {AT_A_TIME} --without-mingle --without-gossip",
        16_000,
    ),
}


def compare(postgresql, contenders=CONTENDERS, processes=PROCESSES, rounds=ROUNDS):
    """Runs a second, by contender and number of processes: the medians of the rounds."""
    found = {name: {count: [] for count in processes} for name in contenders}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, redis_server.running() as redis:
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "BENCHMARK_POSTGRESQL": postgresql,
            "BENCHMARK_REDIS": redis,
            "BENCHMARK_MARKS": f"{folder}/marks",
        }
        for _ in range(rounds):
            for count in processes:
                for name in contenders:
                    rate = measure(name, count, environment)
                    found[name][count].append(rate)
                    print(f"{name}, {count} processes: {rate:,.0f}/s", file=sys.stderr, flush=True)
    return {
        name: {count: statistics.median(rates) for count, rates in by_count.items()}
        for name, by_count in found.items()
    }


def measure(name, count, environment):
    """Runs a second, once all the processes are at work."""
    contender = CONTENDERS[name]
    path = Path(environment["BENCHMARK_MARKS"])
    fill = [sys.executable, "-m", "queues", name, str(contender.runs)]
    subprocess.run(fill, env=environment, check=True)
    path.write_bytes(b"")
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(working(contender.command, environment))
        wait_for(path, count)
        time.sleep(WARM_UP + SECONDS)
    return rate_of(marks.read(path))


@contextlib.contextmanager
def working(command, environment):
    """A worker in a process of its own."""
    program, *arguments = command.split()
    with subprocess.Popen(
        [str(BIN / program), *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as worker:
        try:
            yield
        finally:
            # What it leaves is thrown away with its queue.
            worker.kill()


def wait_for(path, count):
    """Wait until so many processes are at work."""
    until = time.monotonic() + 60
    while len({process for _, process in marks.read(path)}) < count:
        if time.monotonic() > until:
            raise RuntimeError(f"fewer than {count} workers work")
        time.sleep(0.05)


def rate_of(ran):
    firsts = {}
    for at, process in ran:
        firsts.setdefault(process, at)
    begun = max(firsts.values()) + WARM_UP
    # Earlier, if the queue was empty by then.
    ended = min(begun + SECONDS, ran[-1][0])
    if ended - begun < SECONDS / 3:
        raise RuntimeError(f"{len(ran)} runs are too few: the queue was empty too early")
    return sum(begun <= at < ended for at, _ in ran) / (ended - begun)


def tell(rates):
    """Print the table."""
    counts = list(next(iter(rates.values())))
    print("\n| runs a second |", " | ".join(f"{n} process{'es' * (n > 1)}" for n in counts), end="")
    print(" | 2 to 1 |\n|---|" + "---|" * (len(counts) + 1))
    for name, by_count in rates.items():
        cells = " | ".join(f"{rate:,.0f}" for rate in by_count.values())
        print(f"| {CONTENDERS[name].title} | {cells} | {by_count[2] / by_count[1]:.2f} |")


def draw(rates, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 4))
    for name, by_count in rates.items():
        axis.plot(list(by_count), list(by_count.values()), "o-", label=CONTENDERS[name].title)
    axis.set(title="Empty runs a second", xlabel="worker processes", yscale="log")
    axis.set_xticks(list(PROCESSES))
    axis.legend()
    figure.tight_layout()
    figure.savefig(path)


def main():
    rates = compare(os.environ["BACKFILLS_TEST_POSTGRESQL"])
    tell(rates)
    draw(rates, HERE / "throughput.svg")


if __name__ == "__main__":
    main()
