"""Scans: all deals of a portal, pulled for an application with the token that it gave."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from crm.db import Base
from crm.models.base import big_id, created_timestamp, timestamp

PENDING_SCAN, RUNNING_SCAN = "pending", "running"
COMPLETED_SCAN, FAILED_SCAN, CANCELLED_SCAN = "completed", "failed", "cancelled"
UNFINISHED = (PENDING_SCAN, RUNNING_SCAN)
_IS_UNFINISHED = text("status IN ('pending', 'running')")


class Scan(Base):
    """One pull of all deals, or of those that its filters let through."""

    __tablename__ = "scans"
    __table_args__ = (
        UniqueConstraint("organization_id", "scan_id"),
        CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')", name="status"
        ),
        CheckConstraint(
            "token IS NULL OR status IN ('pending', 'running')", name="token_while_unfinished"
        ),
        Index("ix_scans_created", "organization_id", "created_at", "id"),
        Index("ix_scans_unfinished", "organization_id", postgresql_where=_IS_UNFINISHED),
        Index("ix_scans_completed_at", "completed_at"),
    )

    id: Mapped[big_id]
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"))
    organization_label: Mapped[str | None]
    """What the caller called the organization, as they gave it; None where they did not."""
    scan_id: Mapped[str]
    """The caller's name of it."""
    job_id: Mapped[str] = mapped_column(unique=True)
    """Ours, ``job_…``; another one when the scan is started again."""
    status: Mapped[str] = mapped_column(server_default=PENDING_SCAN)
    config: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """The fields of ``crm.scans.commands.ScanConfig``; never the token."""
    token: Mapped[bytes | None]
    """Encrypted; erased in the moment in which the scan ends, however it does."""
    hub_id: Mapped[int | None] = mapped_column(BigInteger)
    """The portal that the token opens, once HubSpot has told."""
    labels: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    """What the portal calls its pipelines, stages and owners, fetched once a scan."""
    last_deal_id: Mapped[int | None] = mapped_column(BigInteger)
    """The highest id when the scan began; by it ranges that have no end are halved."""
    has_one_reader: Mapped[bool] = mapped_column(server_default=text("false"))
    """HubSpot's list cursors turned out to be something else than record ids."""
    takeovers: Mapped[int] = mapped_column(server_default="0")
    """How many jobs have worked on it: only the latest may write."""
    total_items: Mapped[int | None]
    """As HubSpot's search counted at the beginning, and archived deals as they come."""
    processed_items: Mapped[int] = mapped_column(server_default="0")
    """Deals that are stored; also while the scan runs."""
    failed_items: Mapped[int] = mapped_column(server_default="0")
    archived_deals: Mapped[int] = mapped_column(server_default="0")
    with_associations: Mapped[int] = mapped_column(server_default="0")
    data_size: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Bytes of properties and associations as JSON."""
    error_code: Mapped[str | None]
    """HUBSPOT_AUTH_FAILED, FORBIDDEN (a scope is missing), VALIDATION_ERROR (HubSpot refuses the
    filters), RATE_LIMIT_EXCEEDED, HUBSPOT_UNAVAILABLE, HUBSPOT_API_ERROR or INTERNAL_ERROR.

    Of a scan that runs: what it waits for to pass.
    """
    error_message: Mapped[str | None]
    failures: Mapped[int] = mapped_column(server_default="0")
    """Attempts in a row without progress."""
    failing_since: Mapped[timestamp | None]
    created_at: Mapped[created_timestamp]
    started_at: Mapped[timestamp | None]
    completed_at: Mapped[timestamp | None]
    """When it ended, however it did."""
    updated_at: Mapped[created_timestamp]


class ScanRange(Base):
    """Ids of deals that one reader at a time goes through, and how far what was read is stored.

    The ranges of a scan together hold every id.
    """

    __tablename__ = "scan_ranges"

    scan_id: Mapped[int] = mapped_column(
        ForeignKey("scans.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    is_archived: Mapped[bool]
    """Whether it is about the archived deals."""
    after: Mapped[str]
    """HubSpot's cursor to go on from; empty for the beginning."""
    until: Mapped[int | None] = mapped_column(BigInteger)
    """The last id; None for an open end."""
    is_done: Mapped[bool]


class ScanDeal(Base):
    """A deal as a scan found it."""

    __tablename__ = "scan_deals"

    scan_id: Mapped[int] = mapped_column(
        ForeignKey("scans.id", ondelete="CASCADE"), primary_key=True
    )
    deal_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    deal_name: Mapped[str | None]
    amount: Mapped[float | None]
    """None also where the property holds no finite number."""
    currency: Mapped[str | None]
    deal_stage: Mapped[str | None]
    deal_stage_label: Mapped[str | None]
    pipeline_id: Mapped[str | None]
    pipeline_label: Mapped[str | None]
    close_date: Mapped[timestamp | None]
    deal_created_at: Mapped[timestamp | None]
    deal_updated_at: Mapped[timestamp | None]
    owner_id: Mapped[str | None]
    owner_email: Mapped[str | None]
    deal_type: Mapped[str | None]
    is_archived: Mapped[bool]
    deal_url: Mapped[str | None]
    properties: Mapped[dict[str, str | None]] = mapped_column(JSONB)
    """As HubSpot gave them."""
    associations: Mapped[dict[str, list[dict[str, str]]]] = mapped_column(JSONB)
    """``{"contacts": [{"id": "1", "type": "deal_to_contact"}]}``, with every type asked for."""


class ScanFailure(Base):
    """A deal that could not be stored, and why."""

    __tablename__ = "scan_failures"

    scan_id: Mapped[int] = mapped_column(
        ForeignKey("scans.id", ondelete="CASCADE"), primary_key=True
    )
    deal_id: Mapped[str] = mapped_column(primary_key=True)
    """As HubSpot gave it, which need not be an id at all."""
    reason: Mapped[str]
