"""OAuth tokens of portals, encrypted, and the inbox of webhooks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_CREDENTIALS = {
    "seed_digest": sa.LargeBinary,
    "refresh_token": sa.LargeBinary,
    "access_token": sa.LargeBinary,
    "access_expires_at": lambda: sa.DateTime(timezone=True),
    "refresh_leased_until": lambda: sa.DateTime(timezone=True),
    "disabled_reason": sa.String,
}


def upgrade() -> None:
    for name, make_type in _CREDENTIALS.items():
        op.add_column("portals", sa.Column(name, make_type(), nullable=True))
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("hub_id", sa.BigInteger(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
    )


def downgrade() -> None:
    op.drop_table("inbox")
    for name in _CREDENTIALS:
        op.drop_column("portals", name)
