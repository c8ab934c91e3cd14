"""When HubSpot was last asked whether it answers, and how long that took."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("portals", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("portals", sa.Column("answer_ms", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("portals", "answer_ms")
    op.drop_column("portals", "asked_at")
