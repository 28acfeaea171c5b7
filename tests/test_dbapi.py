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


#: Triggers that refuse in the ways that a host can choose from, and quote what they refuse.
TRIGGERS = {
    "postgresql": """
        CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.block_uuid = 'plain' THEN RAISE EXCEPTION USING MESSAGE = NEW.name;
        ELSIF NEW.block_uuid = 'own' THEN RAISE SQLSTATE 'HO001' USING MESSAGE = NEW.name;
        ELSIF NEW.block_uuid = 'other' THEN RAISE SQLSTATE '45000' USING MESSAGE = NEW.name;
        ELSIF NEW.block_uuid = 'known' THEN RAISE check_violation USING MESSAGE = NEW.name;
        END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON backfill
        FOR EACH ROW EXECUTE FUNCTION refuse()
    """,
    "mysql": """
        CREATE TRIGGER refuse BEFORE {} ON backfill FOR EACH ROW BEGIN SET @told = NEW.name;
        IF NEW.block_uuid = 'plain' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @told;
        ELSEIF NEW.block_uuid = 'own' THEN
        SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 31001, MESSAGE_TEXT = @told;
        ELSEIF NEW.block_uuid = 'other' THEN
        SIGNAL SQLSTATE '45ABC' SET MESSAGE_TEXT = @told;
        ELSEIF NEW.block_uuid = 'known' THEN
        SIGNAL SQLSTATE '23000' SET MESSAGE_TEXT = @told; END IF; END
    """,
    "sqlite": """
        CREATE TRIGGER refuse BEFORE {} ON backfill WHEN NEW.block_uuid IS NOT NULL
        BEGIN SELECT RAISE(ABORT, 'not s3cret'); END
    """,
}


@pytest.mark.parametrize("way", ["plain", "own", "other", "known"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_what_a_trigger_of_the_hosts_refuses_is_a_409(own_host, caplog, method, way):
    verb = "UPDATE" if method == "PUT" else "INSERT"
    with own_host.app.app_context(), own_host.db.engine.begin() as connection:
        dialect = own_host.db.engine.dialect.name.replace("mariadb", "mysql")
        connection.exec_driver_sql(TRIGGERS[dialect].replace("{}", verb))
    own_host.statements.clear()
    sent = {"name": SECRET, "block_uuid": way}
    answer = own_host.put(sent) if method == "PUT" else own_host.post(sent)
    assert answer.status_code == 409, answer.text
    assert answer.json["error"]["message"].startswith("A database constraint does not allow this.")
    # It is not tried again, and neither answer nor log has a value.
    assert len([one for one in own_host.statements if one.startswith(verb)]) == 1
    assert SECRET not in answer.text + caplog.text
    assert "ConstraintViolated: " in caplog.text
    assert [one["name"] for one in own_host.read(LIST)["backfills"]] == ["old_name"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_traceback_of_what_nobody_expects_has_no_value_that_was_sent(own_host, caplog):
    def misspell(connection, cursor, statement, parameters, context, many):
        # A hook of the host's own, which breaks the statement.
        return statement.replace("WHERE backfill.", "WERE backfill."), parameters

    url = f"{LIST.replace('arwen_starlight', SECRET)}/6"
    with own_host.app.app_context():
        sa.event.listen(own_host.db.engine, "before_cursor_execute", misspell, retval=True)
    assert own_host.client.get(url).status_code == 500
    assert "WERE" in caplog.text and SECRET not in caplog.text.replace(url, "")


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


@pytest.mark.parametrize(
    "command",
    ["list", "work --once", "show 6", "recover", "watch 6", "start 6 --watch", "retry 6 --watch"],
)
def test_commands_end_with_the_table_that_is_missing(own_runner, command):
    own_runner.blueprint.runner(lambda run: None)
    with own_runner.app.app_context():
        for table in ("backfill_run", "backfill"):
            own_runner.db.session.execute(sa.text(f"DROP TABLE {table}"))
        own_runner.db.session.commit()
    result = own_runner.app.test_cli_runner().invoke(args=["backfills", *command.split()])
    # A 1 of those that watch would say that the backfill has failed.
    assert result.exit_code == (3 if "watch" in command else 1)
    assert "run your migrations" in result.output
    assert "backfill" in result.output.rpartition("migrations")[2]
