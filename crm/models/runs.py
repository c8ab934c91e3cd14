"""Runs: how far a backfill, an incremental sync or a reconciliation has got."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.db import Base
from crm.models.base import big_id, created_timestamp, timestamp

BACKFILL, INCREMENTAL, RECONCILE = "backfill", "incremental", "reconcile"
RUNNING, COMPLETED, FAILED = "running", "completed", "failed"


class SyncRun(Base):
    """One pass over all records of an object type; it goes on from ``cursor`` when interrupted."""

    __tablename__ = "sync_runs"
    __table_args__ = (
        CheckConstraint("kind IN ('backfill', 'incremental', 'reconcile')", name="kind"),
        CheckConstraint("state IN ('running', 'completed', 'failed')", name="state"),
        Index(
            "uq_sync_runs_running",
            "portal_id",
            "kind",
            "object_type",
            unique=True,
            postgresql_where=text("state = 'running'"),
        ),
        Index("ix_sync_runs_latest", "portal_id", "kind", "object_type", "id"),
    )

    id: Mapped[big_id]
    portal_id: Mapped[int] = mapped_column(ForeignKey("portals.id"))
    kind: Mapped[str]
    object_type: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=RUNNING)
    cursor: Mapped[str] = mapped_column(server_default="")
    """Where to go on; empty for the beginning."""
    total: Mapped[int | None]
    """As HubSpot counted at the beginning; None while that is not known."""
    processed: Mapped[int] = mapped_column(server_default="0")
    differences: Mapped[int] = mapped_column(server_default="0")
    """Records that were not in the mirror as HubSpot had them."""
    error: Mapped[str | None]
    hubspot_time: Mapped[timestamp | None]
    """HubSpot's time at the start, at the least: a later run need not look further back."""
    started_at: Mapped[created_timestamp]
    updated_at: Mapped[created_timestamp]
    completed_at: Mapped[timestamp | None]
