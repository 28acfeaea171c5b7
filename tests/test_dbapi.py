"""What a database refuses or lacks: what a caller is told of it, and what a log is."""

import logging

import pytest
import sqlalchemy as sa
from conftest import DATABASES
from conftest import LIST
from conftest import URL

from flask_backfills import BackfillMixin

SECRET = "s3cret"

#: What databases quote in the text of an error: a value that is there twice, one that a CHECK
#: refuses, one with a character that a column lacks.
REFUSED = ("taken", "checked", "\N{SNOWMAN}")


def strict(db):
    class Backfill(BackfillMixin, db.Model):
        __tablename__ = "backfill"
        __table_args__ = (
            sa.UniqueConstraint("name", name="one_of_a_name"),
            sa.CheckConstraint("name <> 's3cret checked'", name="not_checked"),
        )
        name = sa.Column(sa.String(80).with_variant(sa.Text(), "sqlite"))

    return Backfill


def test_what_a_database_refuses_leaves_no_value_in_answer_or_log(bare, caplog):
    caplog.set_level(logging.DEBUG)
    bare.serve(strict(bare.db))
    with bare.app.app_context():
        if bare.db.engine.dialect.name in ("mysql", "mariadb"):
            latin = "ALTER TABLE backfill MODIFY name VARCHAR(80) CHARACTER SET latin1"
            bare.db.session.execute(sa.text(f"{latin}, ADD CONSTRAINT UNIQUE again (name)"))
            bare.db.session.commit()
    assert bare.post({"name": f"{SECRET} taken"}).status_code == 201
    caplog.clear()
    statuses = {}
    for word in REFUSED:
        answer = bare.put({"name": f"{SECRET} {word}"})
        statuses[word] = answer.status_code
        assert answer.status_code == 200 or SECRET not in answer.text
    assert (statuses["taken"], statuses["checked"]) == (409, 409)
    assert statuses["\N{SNOWMAN}"] in (200, 422)
    assert len(caplog.messages) >= 2
    assert SECRET not in caplog.text
    # And yet it says what has refused it.
    assert "name" in caplog.messages[0]


#: Triggers that refuse some names in the ways that a host can choose from.
TRIGGERS = {
    "postgresql": """
        CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.name = 'plain' THEN RAISE EXCEPTION 'not that name';
        ELSIF NEW.name = 'own' THEN RAISE EXCEPTION 'not that name' USING ERRCODE = 'HO001';
        END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON backfill FOR EACH ROW EXECUTE FUNCTION refuse()
    """,
    "mysql": """
        CREATE TRIGGER refuse BEFORE UPDATE ON backfill FOR EACH ROW
        IF NEW.name = 'plain' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not that name';
        ELSEIF NEW.name = 'own' THEN SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 31001; END IF
    """,
    "sqlite": """
        CREATE TRIGGER refuse BEFORE UPDATE ON backfill WHEN NEW.name IN ('plain', 'own')
        BEGIN SELECT RAISE(ABORT, 'not that name'); END
    """,
}


@pytest.mark.parametrize("name", ["plain", "own"])
def test_what_a_trigger_of_the_hosts_refuses_is_not_tried_again(own_host, name):
    with own_host.app.app_context(), own_host.db.engine.begin() as connection:
        dialect = own_host.db.engine.dialect.name.replace("mariadb", "mysql")
        connection.exec_driver_sql(TRIGGERS[dialect])
    own_host.statements.clear()
    answer = own_host.put({"name": name})
    assert answer.status_code in (409, 422), answer.text
    assert len([one for one in own_host.statements if one.startswith("UPDATE")]) == 1
    assert own_host.get()["name"] == "old_name"


@pytest.mark.parametrize("database_url", DATABASES[1:], indirect=True)
def test_a_replica_that_may_only_be_read_is_a_503(own_host):
    def only_read(connection, *rest):
        cursor = connection.cursor()
        of_postgresql = "CHARACTERISTICS AS " if "psycopg" in type(connection).__module__ else ""
        cursor.execute(f"SET SESSION {of_postgresql}TRANSACTION READ ONLY")
        cursor.close()
        connection.commit()

    # As after a failover, until the host's connections are made anew.
    with own_host.app.app_context():
        sa.event.listen(own_host.db.engine, "connect", only_read)
        own_host.db.engine.dispose()
    answer = own_host.put({"name": "new"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert own_host.client.get(URL).status_code == 200
    with own_host.app.app_context():
        sa.event.remove(own_host.db.engine, "connect", only_read)
        own_host.db.engine.dispose()


@pytest.mark.parametrize("what", ["TABLE backfill_run", "TABLE backfill", "a column"])
def test_a_table_that_is_missing_is_a_500_that_says_so_in_the_log(own_runner, caplog, what):
    host = own_runner
    name = "settings" if what == "a column" else what.removeprefix("TABLE ")
    with host.app.app_context():
        drop = "ALTER TABLE backfill DROP COLUMN settings" if what == "a column" else f"DROP {what}"
        host.db.session.execute(sa.text(drop))
        host.db.session.commit()
    caplog.clear()
    asked = {"/runs": host.client.get(f"{URL}/runs"), "dry run": host.put({"status": "initial"})}
    if name != "backfill_run":
        asked |= {"get": host.client.get(URL), "list": host.client.get(LIST)}
    answers = [one for one in asked.values() if one.status_code != 422]
    assert {one.status_code for one in answers} == {500}
    assert "Retry-After" not in answers[0].headers
    assert answers[0].json["error"]["message"].startswith("The app's database is not set up.")
    assert name not in answers[0].text.replace("backfill's", "")
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == len(answers)
    for record in told:
        assert "run your migrations" in record.getMessage()
        assert name in record.getMessage()


@pytest.mark.parametrize("command", ["list", "work --once", "show 6", "recover"])
def test_commands_end_with_the_table_that_is_missing(own_runner, command):
    own_runner.blueprint.runner(lambda run: None)
    with own_runner.app.app_context():
        for table in ("backfill_run", "backfill"):
            own_runner.db.session.execute(sa.text(f"DROP TABLE {table}"))
        own_runner.db.session.commit()
    result = own_runner.app.test_cli_runner().invoke(args=["backfills", *command.split()])
    assert result.exit_code == 1
    assert "run your migrations" in result.output
    assert "backfill" in result.output.rpartition("migrations")[2]
