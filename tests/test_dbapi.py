"""What a database refuses or lacks: what a caller is told of it, and what a log is."""

import logging

import pytest
import sqlalchemy as sa
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
