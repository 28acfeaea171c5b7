"""history of reruns"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"


def upgrade():
    moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    op.create_table(
        "rerun_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("backfill_id", sa.Uuid(), nullable=False),
        sa.Column("pipeline_uuid", sa.String(length=255), nullable=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=True),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("run_key", sa.String(length=255), nullable=True),
        sa.Column("run_count", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_rerun_event_history", "rerun_event", ["backfill_id", "id"], unique=False)


def downgrade():
    op.drop_index("ix_rerun_event_history", table_name="rerun_event")
    op.drop_table("rerun_event")
