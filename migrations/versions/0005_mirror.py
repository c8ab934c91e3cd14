"""The two-way mirror: drafts, aliases, a history of every value, runs of the sync."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")

# The history is written here so that no writer can forget it. What came from HubSpot first is no
# change; what is changed there without anybody's doing, such as times of modification, neither.
_NOTE_CHANGES = """
CREATE FUNCTION note_record_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO record_changes (record_id, name, was, value, side, changed_at)
        SELECT after.id, change.name, before.properties ->> change.name,
            after.properties ->> change.name,
            CASE WHEN change.name = ANY (after.unsent) THEN 'here' ELSE 'hubspot' END,
            CASE WHEN change.name = ANY (after.unsent)
                THEN coalesce((after.drafts -> change.name ->> 'at')::timestamptz, now())
                ELSE coalesce(after.hs_modified_at, now()) END
        FROM after JOIN before USING (id)
        CROSS JOIN LATERAL (
            SELECT jsonb_object_keys(before.properties || after.properties) AS name) AS change
        WHERE before.properties IS DISTINCT FROM after.properties
            AND before.properties ->> change.name IS DISTINCT FROM after.properties ->> change.name
            AND change.name NOT IN (
                'lastmodifieddate', 'hs_lastmodifieddate', 'createdate', 'hs_object_id');
    ELSE
        INSERT INTO record_changes (record_id, name, value, side, changed_at)
        SELECT after.id, change.key, change.value, 'here', now()
        FROM after CROSS JOIN LATERAL jsonb_each_text(after.properties) AS change
        WHERE after.hs_object_id IS NULL;
    END IF;
    RETURN NULL;
END $$
"""
_ON_INSERT = """
CREATE TRIGGER note_created AFTER INSERT ON records
REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION note_record_changes()
"""
_ON_UPDATE = """
CREATE TRIGGER note_changed AFTER UPDATE ON records
REFERENCING OLD TABLE AS before NEW TABLE AS after
FOR EACH STATEMENT EXECUTE FUNCTION note_record_changes()
"""


def upgrade() -> None:
    op.add_column("records", sa.Column("external_id", sa.String(), nullable=True))
    op.add_column(
        "records",
        sa.Column("drafts", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
    )
    op.add_column("records", sa.Column("read_through", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "uq_records_external_id",
        "records",
        ["portal_id", "object_type", "external_id"],
        unique=True,
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.add_column("associations", sa.Column("synced_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "record_aliases",
        sa.Column("portal_id", sa.BigInteger(), nullable=False),
        sa.Column("object_type", sa.String(), nullable=False),
        sa.Column("hs_object_id", sa.String(), nullable=False),
        sa.Column("record_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_record_aliases_portal_id")
        ),
        sa.ForeignKeyConstraint(
            ["record_id"],
            ["records.id"],
            name=op.f("fk_record_aliases_record_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "portal_id", "object_type", "hs_object_id", name=op.f("pk_record_aliases")
        ),
    )
    op.create_index(op.f("ix_record_aliases_record_id"), "record_aliases", ["record_id"])
    op.create_table(
        "record_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("record_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("was", sa.String(), nullable=True),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("overruled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.CheckConstraint("side IN ('here', 'hubspot')", name=op.f("ck_record_changes_side")),
        sa.ForeignKeyConstraint(
            ["record_id"],
            ["records.id"],
            name=op.f("fk_record_changes_record_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_record_changes")),
    )
    op.create_index("ix_record_changes_record_id", "record_changes", ["record_id", "name", "id"])
    op.execute(_NOTE_CHANGES)
    op.execute(_ON_INSERT)
    op.execute(_ON_UPDATE)
    op.create_table(
        "sync_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("portal_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("object_type", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="running", nullable=False),
        sa.Column("cursor", sa.String(), server_default="", nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("processed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("differences", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('backfill', 'incremental', 'reconcile')", name=op.f("ck_sync_runs_kind")
        ),
        sa.CheckConstraint(
            "state IN ('running', 'completed', 'failed')", name=op.f("ck_sync_runs_state")
        ),
        sa.ForeignKeyConstraint(["portal_id"], ["portals.id"], name=op.f("fk_sync_runs_portal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_runs")),
    )
    op.create_index(
        "uq_sync_runs_running",
        "sync_runs",
        ["portal_id", "kind", "object_type"],
        unique=True,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index("ix_sync_runs_latest", "sync_runs", ["portal_id", "kind", "object_type", "id"])
    op.add_column(
        "inbox",
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
    )
    op.add_column("inbox", sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))
    op.add_column("inbox", sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("inbox", sa.Column("outcome", sa.String(), nullable=True))
    op.create_index(
        "ix_inbox_waiting",
        "inbox",
        ["hub_id", "due_at"],
        postgresql_where=sa.text("processed_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_inbox_waiting", "inbox")
    for name in ("outcome", "processed_at", "attempts", "due_at"):
        op.drop_column("inbox", name)
    op.drop_table("sync_runs")
    op.execute("DROP TRIGGER note_changed ON records")
    op.execute("DROP TRIGGER note_created ON records")
    op.execute("DROP FUNCTION note_record_changes")
    op.drop_table("record_changes")
    op.drop_table("record_aliases")
    op.drop_index("uq_records_external_id", "records")
    op.drop_column("associations", "synced_at")
    for name in ("read_through", "drafts", "external_id"):
        op.drop_column("records", name)
