"""runs of reruns, and whose they are"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"


def upgrade():
    # All that is there was made by users of one company, before there were others.
    for name in ("user", "rerun"):
        with op.batch_alter_table(name) as table:
            table.add_column(
                sa.Column("company", sa.String(length=40), nullable=False, server_default="Acme")
            )
    with op.batch_alter_table("rerun") as table:
        table.add_column(sa.Column("settings", sa.JSON(none_as_null=True), nullable=True))
        table.create_index("ix_rerun_company", ["company"], unique=False)
    moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    op.create_table(
        "rerun_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("backfill_id", sa.Uuid(), nullable=False),
        sa.Column("pipeline_uuid", sa.String(length=255), nullable=True),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("execution_date", moment, nullable=True),
        sa.Column("interval_end_datetime", moment, nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("queued_at", moment, nullable=True),
        sa.Column("started_at", moment, nullable=True),
        sa.Column("completed_at", moment, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("heartbeat_at", moment, nullable=True),
        sa.Column("available_at", moment, nullable=True),
        sa.Column("worker", sa.String(length=255), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=True),
        sa.Column("losses", sa.Integer(), nullable=True),
        sa.Column("variables", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("own_variables", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["backfill_id"], ["rerun.rerun_key"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("backfill_id", "key"),
    )
    op.create_index(
        "ix_rerun_run_next",
        "rerun_run",
        ["backfill_id", "status", "execution_date", "id"],
        unique=False,
    )
    op.create_index("ix_rerun_run_held", "rerun_run", ["backfill_id", "heartbeat_at"], unique=False)


def downgrade():
    op.drop_table("rerun_run")
    with op.batch_alter_table("rerun") as table:
        table.drop_index("ix_rerun_company")
        table.drop_column("settings")
        table.drop_column("company")
    with op.batch_alter_table("user") as table:
        table.drop_column("company")
