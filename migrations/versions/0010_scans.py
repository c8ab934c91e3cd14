"""Scans, and budgets of portals that only scans call."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_UNFINISHED = sa.text("status IN ('pending', 'running')")
_BUDGETS = ("call_windows", "day_quotas")


def _time(name: str, *, default: bool = False) -> sa.Column:
    kind = sa.DateTime(timezone=True)
    return sa.Column(name, kind, server_default=_NOW if default else None, nullable=not default)


def _count(name: str, kind: sa.types.TypeEngine | None = None) -> sa.Column:
    return sa.Column(name, kind or sa.Integer(), server_default="0", nullable=False)


def _of_scan(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["scan_id"], ["scans.id"], name=op.f(f"fk_{table}_scan_id"), ondelete="CASCADE"
    )


def upgrade() -> None:
    _create_scans()
    op.create_table(
        "scan_ranges",
        sa.Column("scan_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("is_archived", sa.Boolean(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("is_done", sa.Boolean(), nullable=False),
        _of_scan("scan_ranges"),
        sa.PrimaryKeyConstraint("scan_id", "number", name=op.f("pk_scan_ranges")),
    )
    _create_deals()
    op.create_table(
        "scan_failures",
        sa.Column("scan_id", sa.BigInteger(), nullable=False),
        sa.Column("deal_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        _of_scan("scan_failures"),
        sa.PrimaryKeyConstraint("scan_id", "deal_id", name=op.f("pk_scan_failures")),
    )
    for table in _BUDGETS:
        op.drop_constraint(f"fk_{table}_portal_id", table, type_="foreignkey")


def _create_scans() -> None:
    op.create_table(
        "scans",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.Column("scan_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=True),
        sa.Column("hub_id", sa.BigInteger(), nullable=True),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("last_deal_id", sa.BigInteger(), nullable=True),
        sa.Column("has_one_reader", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _count("takeovers"),
        sa.Column("total_items", sa.Integer(), nullable=True),
        _count("processed_items"),
        _count("failed_items"),
        _count("archived_deals"),
        _count("with_associations"),
        _count("data_size", sa.BigInteger()),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        _count("failures"),
        _time("failing_since"),
        _time("created_at", default=True),
        _time("started_at"),
        _time("completed_at"),
        _time("updated_at", default=True),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_scans_status"),
        ),
        sa.CheckConstraint(
            "token IS NULL OR status IN ('pending', 'running')",
            name=op.f("ck_scans_token_while_unfinished"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_scans_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scans")),
        sa.UniqueConstraint(
            "organization_id", "scan_id", name=op.f("uq_scans_organization_id_scan_id")
        ),
        sa.UniqueConstraint("job_id", name=op.f("uq_scans_job_id")),
    )
    op.create_index("ix_scans_created", "scans", ["organization_id", "created_at", "id"])
    op.create_index(
        "ix_scans_unfinished", "scans", ["organization_id"], postgresql_where=_UNFINISHED
    )
    op.create_index("ix_scans_completed_at", "scans", ["completed_at"])


def _create_deals() -> None:
    op.create_table(
        "scan_deals",
        sa.Column("scan_id", sa.BigInteger(), nullable=False),
        sa.Column("deal_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("deal_name", sa.String(), nullable=True),
        sa.Column("amount", sa.Float(), nullable=True),
        *(
            sa.Column(name, sa.String(), nullable=True)
            for name in (
                *("currency", "deal_stage", "deal_stage_label"),
                *("pipeline_id", "pipeline_label"),
            )
        ),
        _time("close_date"),
        _time("deal_created_at"),
        _time("deal_updated_at"),
        *(
            sa.Column(name, sa.String(), nullable=True)
            for name in ("owner_id", "owner_email", "deal_type")
        ),
        sa.Column("is_archived", sa.Boolean(), nullable=False),
        sa.Column("deal_url", sa.String(), nullable=True),
        sa.Column("properties", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("associations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        _of_scan("scan_deals"),
        sa.PrimaryKeyConstraint("scan_id", "deal_id", name=op.f("pk_scan_deals")),
    )


def downgrade() -> None:
    for table in _BUDGETS:
        op.execute(f"DELETE FROM {table} WHERE portal_id NOT IN (SELECT id FROM portals)")  # noqa: S608
        op.create_foreign_key(
            f"fk_{table}_portal_id", table, "portals", ["portal_id"], ["id"], ondelete="CASCADE"
        )
    for table in ("scan_failures", "scan_deals", "scan_ranges", "scans"):
        op.drop_table(table)
