"""All of it: prints the tables of the README and draws its pictures.

.ci/with_servers .venv/bin/python benchmarks
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import claims
import in_process
import over_http
import runs
import starts
import throughput

HERE = Path(__file__).parent
PACKAGES = """flask flask-sqlalchemy sqlalchemy marshmallow flask-smorest apiflask flask-restx
djangorestframework django fastapi pydantic gunicorn psycopg pymysql procrastinate huey celery
redis""".split()


def main():
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    print(f"{date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores; {versions}")
    print(f"Load before: {os.getloadavg()[0]:.1f}")
    with runs.databases() as databases:
        postgresql = databases.get("PostgreSQL")
        if postgresql:
            rates = throughput.compare(postgresql("throughput"))
            throughput.tell(rates)
            throughput.draw(rates, HERE / "throughput.svg")
        claims.tell(
            {name: claims.compare(url_for("claims")) for name, url_for in databases.items()}
        )
        starts.tell({name: starts.compare(url_for) for name, url_for in databases.items()})
        # As many as the other frameworks have drivers for.
        two = {name: url_for for name, url_for in databases.items() if name != "MariaDB"}
        puts = {name: in_a_process(url_for("NAME")) for name, url_for in two.items()}
        http = {
            name: over_http.compare(url_for, in_process.CONTENDERS) for name, url_for in two.items()
        }
        curves = {name: runs.curve(url_for) for name, url_for in two.items()}
    tell_puts(puts, http)
    tell_runs(curves)
    tell_windows(runs.pages_of_windows())
    draw(curves, HERE / "runs.svg")


def in_a_process(url):
    """One for each database, since Django knows only one."""
    command = [sys.executable, str(HERE / "in_process.py"), url]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def tell_puts(puts, rates):
    print("\n| a PUT |", " | ".join(f"{n}: µs | to by hand" for n in puts), end=" | ")
    print(" | ".join(f"{n}, gunicorn: PUTs/s" for n in rates), "|")
    print("|---|" + "---|---|" * len(puts) + "---|" * len(rates))
    for name, title in in_process.CONTENDERS.items():
        cells = [f"{p[name]:,.0f} | {p[name] / p['by_hand']:.2f}" for p in puts.values()]
        cells += [f"{r[name]:,.0f}" for r in rates.values()]
        print(f"| {title} |", " | ".join(cells), "|")


def tell_runs(curves):
    for database, curve in curves.items():
        keys = list(next(iter(curve.values())))
        print(f"\n| {database}: runs |", " | ".join(keys).replace("memory", "memory, MB"), end=" |")
        print(" Core / start |\n|---|" + "---|" * (len(keys) + 1))
        for size, found in curve.items():
            cells = [f"{found[k]:.1f}" if k == "memory" else f"{found[k]:.3f} s" for k in keys]
            print(f"| {size:,} |", " | ".join(cells), f"| {found['core'] / found['start']:.2f} |")


def tell_windows(found):
    print("\n| dates in the window | GET with the count | GET with 20 dates at its end |")
    print("|---|---|---|")
    for count, taken in found.items():
        print(f"| {count:,} | {taken['count'] * 1e3:.2f} ms | {taken['page'] * 1e3:.2f} ms |")


def draw(curves, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves) + 1, figsize=(5 * (len(curves) + 1), 4))
    for axis, (database, curve) in zip(axes, curves.items(), strict=False):
        for what in ("start", "core", "shift", "count", "cancel"):
            label = "Core's executemany" if what == "core" else what
            axis.loglog(list(curve), [found[what] for found in curve.values()], "o-", label=label)
        axis.set(title=f"{database}: seconds", xlabel="runs")
        axis.legend()
    for database, curve in curves.items():
        memory = [found["memory"] for found in curve.values()]
        axes[-1].semilogx(list(curve), memory, "o-", label=database)
    axes[-1].set(title="start: peak memory more, MB", xlabel="runs", ylim=(0, 50))
    axes[-1].legend()
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
