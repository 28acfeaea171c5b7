"""users and reruns"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.create_table(
        "rerun",
        sa.Column("rerun_key", sa.Uuid(), nullable=False),
        sa.Column("flow", sa.String(length=100), nullable=False),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("from_ts", sa.DateTime(timezone=True), nullable=True),
        sa.Column("to_ts", sa.DateTime(timezone=True), nullable=True),
        sa.Column("step", sa.Enum("hour", "day", native_enum=False), nullable=True),
        sa.Column("step_count", sa.SmallInteger(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=True),
        sa.Column("overrides", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("rerun_key"),
    )
    op.create_index(op.f("ix_rerun_flow"), "rerun", ["flow"], unique=False)
    op.create_table(
        "user",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("login", sa.String(length=50), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("login"),
    )
    op.create_table(
        "grant",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("pipeline", sa.String(length=100), nullable=False),
        sa.Column("may_edit", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.id"],
        ),
        sa.PrimaryKeyConstraint("user_id", "pipeline"),
    )


def downgrade():
    op.drop_table("grant")
    op.drop_table("user")
    op.drop_index(op.f("ix_rerun_flow"), table_name="rerun")
    op.drop_table("rerun")
