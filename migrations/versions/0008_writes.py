"""Writes within a request: rows held by it, companies by domain, the portal's properties."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("records", sa.Column("held_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_records_domain",
        "records",
        ["portal_id", sa.text("lower(properties ->> 'domain')")],
        postgresql_where=sa.text("object_type = 'companies' AND archived_at IS NULL"),
    )
    op.create_table(
        "property_sets",
        sa.Column("portal_id", sa.BigInteger(), nullable=False),
        sa.Column("object_type", sa.String(), nullable=False),
        sa.Column("properties", postgresql.JSONB(), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_property_sets_portal_id")
        ),
        sa.PrimaryKeyConstraint("portal_id", "object_type", name=op.f("pk_property_sets")),
    )


def downgrade() -> None:
    op.drop_table("property_sets")
    op.drop_index("ix_records_domain", "records")
    op.drop_column("records", "held_until")
