"""The ledger of tests/stress.py: what became of each run, written by triggers of the database.

A trigger's row is committed with the change that it tells of, or not at all. So the ledger knows
of every end that was recorded, and of no other, whatever the code that is tried does.
"""

from sqlalchemy import create_engine
from sqlalchemy import inspect
from sqlalchemy import text

#: The time now and that of a column, in seconds since 1970.
CLOCKS = {
    "sqlite": ("(julianday('now') - 2440587.5) * 86400", "(julianday({}) - 2440587.5) * 86400"),
    "postgresql": ("extract(epoch FROM clock_timestamp())", "extract(epoch FROM {})"),
    "mysql": ("UNIX_TIMESTAMP(SYSDATE(6))", "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {}) / 1e6"),
}

IDS = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "postgresql": "SERIAL PRIMARY KEY",
    "mysql": "INTEGER PRIMARY KEY AUTO_INCREMENT",
}

COLUMNS = {
    "at": "DOUBLE PRECISION",
    "backfill_id": "INTEGER",
    "run_id": "INTEGER",
    "run_key": "VARCHAR(255)",
    "old_attempt": "INTEGER",
    "new_attempt": "INTEGER",
    "old_status": "VARCHAR(16)",
    "new_status": "VARCHAR(16)",
    "seen": "DOUBLE PRECISION",
    "left_open": "INTEGER",
}

OF_RUN = "OLD.backfill_id, OLD.id, OLD.{key}, OLD.attempt, {attempt}, OLD.status, {status}, {seen}, {open}"
# A run that was cancelled while it ran has no end until its worker has let go of it. If it was
# started again meanwhile, it waits for that.
CHANGED = (
    "OLD.status <> NEW.status OR OLD.attempt <> NEW.attempt"
    " OR (OLD.completed_at IS NULL) <> (NEW.completed_at IS NULL)"
    " OR (OLD.status = 'initial' AND OLD.heartbeat_at IS NOT NULL AND NEW.heartbeat_at IS NULL)"
)


def dialect_of(engine):
    return "mysql" if engine.dialect.name == "mariadb" else engine.dialect.name


def observer(url):
    """An engine to look on with: it holds no lock and no snapshot."""
    return create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)


def create(url):
    """Make the ledger of a database that has the host's tables."""
    engine = observer(url)
    dialect = dialect_of(engine)
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    with engine.connect() as connection:
        connection.execute(text(f"CREATE TABLE ledger (id {IDS[dialect]}, {columns})"))
        for table, when, condition, insert in entries(engine, dialect):
            for statement in trigger(dialect, table, when, condition, insert):
                connection.exec_driver_sql(statement)
    engine.dispose()


def entries(engine, dialect):
    """Each trigger: of which table, when, on which condition, and the row that it writes."""
    now, moment = CLOCKS[dialect]
    known = {column["name"] for column in inspect(engine).get_columns("backfill_run")}
    # The moment that a lease counts from.
    since = "OLD.started_at"
    if "heartbeat_at" in known:
        since = f"COALESCE(OLD.heartbeat_at, {since})"
    key = "`key`" if dialect == "mysql" else "key"
    values = OF_RUN.format(
        key=key,
        attempt="NEW.attempt",
        status="NEW.status",
        seen=moment.format(since),
        open="CASE WHEN NEW.completed_at IS NULL THEN 1 ELSE 0 END",
    )
    gone = OF_RUN.format(key=key, attempt="NULL", status="'gone'", seen="NULL", open="0")
    insert = f"INSERT INTO ledger ({', '.join(COLUMNS)}) VALUES ({now}, {{}})"
    yield "backfill_run", "UPDATE", CHANGED, insert.format(values)
    yield "backfill_run", "DELETE", None, insert.format(gone)
    whole = "OLD.id, NULL, NULL, NULL, NULL, OLD.status, 'gone', NULL, 0"
    yield "backfill", "DELETE", None, insert.format(whole)


def trigger(dialect, table, when, condition, insert):
    """The statements that make a trigger."""
    name = f"ledger_{table}_{when.lower()}"
    head = f"CREATE TRIGGER {name} AFTER {when} ON {table} FOR EACH ROW"
    if dialect == "postgresql":
        result = "$$ BEGIN {}; RETURN NULL; END $$ LANGUAGE plpgsql"
        yield f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger AS {result.format(insert)}"
        yield f"{head} {f'WHEN ({condition})' if condition else ''} EXECUTE FUNCTION {name}()"
    elif dialect == "mysql":
        yield f"{head} {f'IF {condition} THEN {insert}; END IF' if condition else insert}"
    else:
        yield f"{head} {f'WHEN {condition}' if condition else ''} BEGIN {insert}; END"


def drop(url):
    """Empty the database of all that the stress test made."""
    engine = observer(url)
    dialect = dialect_of(engine)
    with engine.connect() as connection:
        if dialect == "postgresql":
            connection.execute(text("SET lock_timeout = '10s'"))
        for table in ("effect", "ledger", "backfill_run", "backfill"):
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        if dialect == "postgresql":
            for name in ("backfill_run_update", "backfill_run_delete", "backfill_delete"):
                connection.execute(text(f"DROP FUNCTION IF EXISTS ledger_{name}()"))
    engine.dispose()
