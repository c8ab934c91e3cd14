"""The budget of calls to HubSpot."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NEVER = sa.text("'-infinity'")


def upgrade() -> None:
    op.add_column(
        "portals", sa.Column("time_zone", sa.String(), server_default="UTC", nullable=False)
    )
    op.create_table(
        "call_windows",
        sa.Column("portal_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("max_calls", sa.Integer(), nullable=False),
        sa.Column("period", sa.Interval(), nullable=False),
        sa.Column(
            "calls",
            postgresql.ARRAY(sa.TIMESTAMP(timezone=True)),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("next_at", sa.DateTime(timezone=True), server_default=_NEVER, nullable=False),
        sa.Column(
            "closed_until", sa.DateTime(timezone=True), server_default=_NEVER, nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["portal_id"],
            ["portals.id"],
            name=op.f("fk_call_windows_portal_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("portal_id", "kind", name=op.f("pk_call_windows")),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": 25},
    )
    op.create_table(
        "day_quotas",
        sa.Column("portal_id", sa.BigInteger(), nullable=False),
        sa.Column("max_calls", sa.Integer(), nullable=True),
        sa.Column("began_at", sa.DateTime(timezone=True), server_default=_NEVER, nullable=False),
        sa.Column("used", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "used_by_hour",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("learnt_at", sa.DateTime(timezone=True), server_default=_NEVER, nullable=False),
        sa.Column(
            "closed_until", sa.DateTime(timezone=True), server_default=_NEVER, nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_day_quotas_portal_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("portal_id", name=op.f("pk_day_quotas")),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": 25},
    )


def downgrade() -> None:
    op.drop_table("day_quotas")
    op.drop_table("call_windows")
    op.drop_column("portals", "time_zone")
