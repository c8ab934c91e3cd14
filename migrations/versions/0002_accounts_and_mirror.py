"""Accounts, portals and the mirror."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SEARCH = (
    "to_tsvector('simple'::regconfig, translate(coalesce(properties ->> 'firstname', '') || ' ' || "
    "coalesce(properties ->> 'lastname', '') || ' ' || "
    "coalesce(properties ->> 'email', '') || ' ' || "
    "coalesce(properties ->> 'phone', '') || ' ' || "
    "coalesce(properties ->> 'company', '') || ' ' || "
    "coalesce(properties ->> 'name', '') || ' ' || "
    "coalesce(properties ->> 'domain', '') || ' ' || "
    "coalesce(properties ->> 'dealname', '') || ' ' || "
    "coalesce(properties ->> 'subject', ''), '@.,-_+()/:;&<>', '              ') || ' ' || "
    "regexp_replace(coalesce(properties ->> 'phone', ''), '[^0-9]', '', 'g'))"
)


def upgrade() -> None:
    op.create_table(
        "organizations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("name", name=op.f("uq_organizations_name")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_api_keys_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_index("ix_api_keys_organization_id", "api_keys", ["organization_id"])

    op.create_table(
        "portals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.Column("hub_id", sa.BigInteger(), nullable=True),
        sa.Column("set_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("push_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("push_retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("push_error", sa.String(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_portals_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portals")),
        sa.UniqueConstraint("hub_id", name=op.f("uq_portals_hub_id")),
        sa.UniqueConstraint("organization_id", name=op.f("uq_portals_organization_id")),
    )
    op.create_table(
        "pipeline_sets",
        sa.Column("portal_id", sa.BigInteger(), nullable=False),
        sa.Column("object_type", sa.String(), nullable=False),
        sa.Column("pipelines", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_pipeline_sets_portal_id")
        ),
        sa.PrimaryKeyConstraint("portal_id", "object_type", name=op.f("pk_pipeline_sets")),
    )
    op.create_table(
        "records",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("uuid", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("portal_id", sa.BigInteger(), nullable=False),
        sa.Column("object_type", sa.String(), nullable=False),
        sa.Column("hs_object_id", sa.String(), nullable=True),
        sa.Column("properties", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "unsent", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("state", sa.String(), server_default="pending", nullable=False),
        sa.Column("rejection", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("hs_created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hs_modified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "email",
            sa.String(),
            sa.Computed(
                "CASE WHEN object_type = 'contacts' THEN lower(properties ->> 'email') END",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed(
                _SEARCH,
                persisted=True,
            ),
            nullable=False,
        ),
        sa.CheckConstraint(
            "jsonb_typeof(properties) = 'object'", name=op.f("ck_records_properties")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'synced', 'rejected')", name=op.f("ck_records_state")
        ),
        sa.ForeignKeyConstraint(["portal_id"], ["portals.id"], name=op.f("fk_records_portal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_records")),
        sa.UniqueConstraint(
            "portal_id",
            "object_type",
            "hs_object_id",
            name=op.f("uq_records_portal_id_object_type_hs_object_id"),
        ),
        sa.UniqueConstraint("uuid", name=op.f("uq_records_uuid")),
    )
    op.create_index(
        "ix_records_created",
        "records",
        [
            "portal_id",
            "object_type",
            sa.literal_column("coalesce(hs_created_at, created_at)"),
            "id",
        ],
    )
    op.create_index(
        "ix_records_live",
        "records",
        ["portal_id", "object_type", sa.literal_column("(id + 0)"), "id"],
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.create_index(
        "ix_records_modified",
        "records",
        [
            "portal_id",
            "object_type",
            sa.literal_column("coalesce(hs_modified_at, updated_at)"),
            "id",
        ],
    )
    op.create_index(
        "ix_records_pending",
        "records",
        ["portal_id", "object_type", "id"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_records_properties",
        "records",
        ["properties"],
        postgresql_using="gin",
        postgresql_ops={"properties": "jsonb_path_ops"},
    )
    op.create_index("ix_records_search", "records", ["search"], postgresql_using="gin")
    op.create_index(
        "uq_records_live_email",
        "records",
        ["portal_id", "email"],
        unique=True,
        postgresql_where=sa.text("archived_at IS NULL"),
    )

    op.create_table(
        "associations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("portal_id", sa.BigInteger(), nullable=False),
        sa.Column("type_id", sa.Integer(), nullable=False),
        sa.Column("from_id", sa.BigInteger(), nullable=False),
        sa.Column("to_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), server_default="pending", nullable=False),
        sa.Column("rejection", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'synced', 'rejected')", name=op.f("ck_associations_state")
        ),
        sa.ForeignKeyConstraint(
            ["from_id"], ["records.id"], name=op.f("fk_associations_from_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portals.id"], name=op.f("fk_associations_portal_id")
        ),
        sa.ForeignKeyConstraint(
            ["to_id"], ["records.id"], name=op.f("fk_associations_to_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_associations")),
        sa.UniqueConstraint(
            "from_id", "type_id", "to_id", name=op.f("uq_associations_from_id_type_id_to_id")
        ),
    )
    op.create_index(
        "ix_associations_pending",
        "associations",
        ["portal_id", "type_id", "id"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index("ix_associations_to_id", "associations", ["to_id"])

    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("role", sa.String(), server_default="user", nullable=False),
        sa.Column("contact_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("role IN ('user', 'admin')", name=op.f("ck_users_role")),
        sa.ForeignKeyConstraint(["contact_id"], ["records.id"], name=op.f("fk_users_contact_id")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_users_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_index("ix_users_contact_id", "users", ["contact_id"])
    op.create_index("ix_users_organization_id", "users", ["organization_id"])

    op.create_table(
        "sign_ins",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("refresh_id", sa.Uuid(), nullable=False),
        sa.Column("previous_refresh_id", sa.Uuid(), nullable=True),
        sa.Column(
            "refreshed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sign_ins_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_ins")),
    )
    op.create_index("ix_sign_ins_expires_at", "sign_ins", ["expires_at"])
    op.create_index("ix_sign_ins_user_id", "sign_ins", ["user_id"])
    # People who register belong to this organization, and the token of the settings to its portal.
    op.execute(
        "WITH made AS (INSERT INTO organizations (name) VALUES ('Default') RETURNING id)"
        " INSERT INTO portals (organization_id) SELECT id FROM made"
    )


def downgrade() -> None:
    op.drop_table("sign_ins")
    op.drop_table("users")
    op.drop_table("associations")
    op.drop_table("records")
    op.drop_table("pipeline_sets")
    op.drop_table("portals")
    op.drop_table("api_keys")
    op.drop_table("organizations")
