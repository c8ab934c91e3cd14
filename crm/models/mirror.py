"""The mirror: HubSpot's records, associations and pipelines as this side sees them."""

from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from crm.db import Base
from crm.models.base import big_id, created_timestamp, timestamp

PENDING, SYNCED, REJECTED = "pending", "synced", "rejected"

_STATE = "state IN ('pending', 'synced', 'rejected')"
_EMAIL = "CASE WHEN object_type = 'contacts' THEN lower(properties ->> 'email') END"
_SEARCHED = (
    "firstname",
    "lastname",
    "email",
    "phone",
    "company",
    "name",
    "domain",
    "dealname",
    "subject",
)
_SEARCH = (
    "to_tsvector('simple'::regconfig, translate("
    + " || ' ' || ".join(f"coalesce(properties ->> '{each}', '')" for each in _SEARCHED)
    # Punctuation splits words here as in a query (crm.mirror.reads.pages): an e-mail address
    # or a phone number is found by each of its parts, and a phone number also as one.
    + ", '@.,-_+()/:;&<>', '              ')"
    " || ' ' || regexp_replace(coalesce(properties ->> 'phone', ''), '[^0-9]', '', 'g'))"
)


class Record(Base):
    """One HubSpot record, and the outbox of what was changed here and not yet accepted there."""

    __tablename__ = "records"
    __table_args__ = (
        UniqueConstraint("portal_id", "object_type", "hs_object_id"),
        CheckConstraint(_STATE, name="state"),
        CheckConstraint("jsonb_typeof(properties) = 'object'", name="properties"),
        Index(
            "uq_records_live_email",
            "portal_id",
            "email",
            unique=True,
            postgresql_where=text("archived_at IS NULL"),
        ),
        # Not of the bare id, whose own index Postgres would take instead: it expects the types
        # to be mixed evenly, and then reads through all deals and tickets newer than the contacts.
        Index(
            "ix_records_live",
            "portal_id",
            "object_type",
            text("(id + 0)"),
            "id",
            postgresql_where=text("archived_at IS NULL"),
        ),
        Index(
            "ix_records_pending",
            "portal_id",
            "object_type",
            "id",
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_records_rejected",
            "portal_id",
            "id",
            postgresql_where=text("state = 'rejected'"),
        ),
        Index(
            "ix_records_created",
            "portal_id",
            "object_type",
            text("coalesce(hs_created_at, created_at)"),
            "id",
        ),
        Index(
            "ix_records_modified",
            "portal_id",
            "object_type",
            text("coalesce(hs_modified_at, updated_at)"),
            "id",
        ),
        Index(
            "uq_records_external_id",
            "portal_id",
            "object_type",
            "external_id",
            unique=True,
            postgresql_where=text("archived_at IS NULL"),
        ),
        # Companies are matched by it; HubSpot lets several have the same.
        Index(
            "ix_records_domain",
            "portal_id",
            text("lower(properties ->> 'domain')"),
            postgresql_where=text("object_type = 'companies' AND archived_at IS NULL"),
        ),
        Index("ix_records_search", "search", postgresql_using="gin"),
        Index(
            "ix_records_properties",
            "properties",
            postgresql_using="gin",
            postgresql_ops={"properties": "jsonb_path_ops"},
        ),
    )

    id: Mapped[big_id]
    uuid: Mapped[UUID] = mapped_column(unique=True, server_default=func.gen_random_uuid())
    """Also the record's ``crm_uid`` in the portal."""
    portal_id: Mapped[int] = mapped_column(ForeignKey("portals.id"))
    object_type: Mapped[str]
    hs_object_id: Mapped[str | None]
    properties: Mapped[dict[str, str | None]] = mapped_column(JSONB)
    """By HubSpot's names; every value a string or null, as HubSpot gives them."""
    unsent: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    """Names of the properties that were changed here and not yet accepted there."""
    drafts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    """Of each unsent property ``{"at", "over"}``: when it was changed here, and HubSpot's value
    that it will replace. Without ``over`` that is not known, and so not in conflict. Of a contact
    that was not sent yet, ``over`` is the e-mail that it had first. With ``cleared``, HubSpot was
    asked by us to clear it meanwhile."""
    external_id: Mapped[str | None]
    """The caller's own id of a record that has no natural key."""
    state: Mapped[str] = mapped_column(server_default=PENDING)
    rejection: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """HubSpot's words: ``{"message", "category", "correlation_id", "errors"}``."""
    revision: Mapped[int] = mapped_column(BigInteger, server_default="1")
    """Counts the changes made here, so that push sees one that came while it was sending."""
    held_until: Mapped[timestamp | None]
    """Until then a request sends this row itself, and the job leaves it alone."""
    hs_created_at: Mapped[timestamp | None]
    hs_modified_at: Mapped[timestamp | None]
    read_through: Mapped[timestamp | None]
    """HubSpot's modification time as of the last complete read: what happened before is known."""
    archived_at: Mapped[timestamp | None]
    """While the state is pending: archived here, and HubSpot is to be told."""
    created_at: Mapped[created_timestamp]
    updated_at: Mapped[created_timestamp]
    email: Mapped[str | None] = mapped_column(Computed(_EMAIL, persisted=True))
    search: Mapped[str] = mapped_column(TSVECTOR, Computed(_SEARCH, persisted=True))


class RecordAlias(Base):
    """Where another id of HubSpot's leads: to the record it was merged into, or nowhere.

    Nowhere means that the record was purged for privacy: whatever still tells of it is not
    listened to.
    """

    __tablename__ = "record_aliases"

    portal_id: Mapped[int] = mapped_column(ForeignKey("portals.id"), primary_key=True)
    object_type: Mapped[str] = mapped_column(primary_key=True)
    hs_object_id: Mapped[str] = mapped_column(primary_key=True)
    record_id: Mapped[int | None] = mapped_column(
        ForeignKey("records.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[created_timestamp]


class RecordChange(Base):
    """One value that a property took, here or in HubSpot; written by a trigger on ``records``.

    A value that lost against one from the other side says so in ``overruled_at`` and ``reason``.
    """

    __tablename__ = "record_changes"
    __table_args__ = (
        CheckConstraint("side IN ('here', 'hubspot')", name="side"),
        Index("ix_record_changes_record_id", "record_id", "name", "id"),
    )

    id: Mapped[big_id]
    record_id: Mapped[int] = mapped_column(ForeignKey("records.id", ondelete="CASCADE"))
    name: Mapped[str]
    was: Mapped[str | None]
    value: Mapped[str | None]
    side: Mapped[str]
    changed_at: Mapped[timestamp]
    noted_at: Mapped[created_timestamp]
    overruled_at: Mapped[timestamp | None]
    reason: Mapped[str | None]


class Association(Base):
    """A pair of associated records, in the one direction that ``crm.object_types`` declares."""

    __tablename__ = "associations"
    __table_args__ = (
        UniqueConstraint("from_id", "type_id", "to_id"),
        CheckConstraint(_STATE, name="state"),
        Index(
            "ix_associations_pending",
            "portal_id",
            "type_id",
            "id",
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_associations_rejected",
            "portal_id",
            "id",
            postgresql_where=text("state = 'rejected'"),
        ),
    )

    id: Mapped[big_id]
    portal_id: Mapped[int] = mapped_column(ForeignKey("portals.id"))
    type_id: Mapped[int]
    from_id: Mapped[int] = mapped_column(ForeignKey("records.id", ondelete="CASCADE"))
    to_id: Mapped[int] = mapped_column(ForeignKey("records.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(server_default=PENDING)
    rejection: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    synced_at: Mapped[timestamp | None]
    """When HubSpot was last known to have it; an older reading cannot tell that it is gone."""


class PipelineSet(Base):
    """All pipelines of one object type of a portal, as HubSpot last gave them."""

    __tablename__ = "pipeline_sets"

    portal_id: Mapped[int] = mapped_column(ForeignKey("portals.id"), primary_key=True)
    object_type: Mapped[str] = mapped_column(primary_key=True)
    pipelines: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    """``[{"id", "label", "display_order", "stages": [{"id", "label", "display_order"}]}]``."""
    fetched_at: Mapped[timestamp | None]
    attempted_at: Mapped[timestamp | None]
    """Keeps callers from asking a HubSpot that is down again and again."""


class PropertySet(Base):
    """The property definitions of one object type of a portal, as HubSpot last gave them."""

    __tablename__ = "property_sets"

    portal_id: Mapped[int] = mapped_column(ForeignKey("portals.id"), primary_key=True)
    object_type: Mapped[str] = mapped_column(primary_key=True)
    properties: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    """The fields of ``crm.hubspot.properties.Property`` each."""
    fetched_at: Mapped[timestamp | None]
    attempted_at: Mapped[timestamp | None]
    """As of pipelines."""
