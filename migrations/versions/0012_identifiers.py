"""What applications call an organization: its identifier, and the name that a scan was given."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("organizations", sa.Column("identifier", sa.String(), nullable=True))
    op.create_unique_constraint(
        op.f("uq_organizations_identifier"), "organizations", ["identifier"]
    )
    op.create_check_constraint(
        op.f("ck_organizations_identifier"),
        "organizations",
        "identifier ~ '^[a-z][a-z0-9_]{0,54}$'",
    )
    op.add_column("scans", sa.Column("organization_label", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("scans", "organization_label")
    op.drop_column("organizations", "identifier")
