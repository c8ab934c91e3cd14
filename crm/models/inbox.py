"""The inbox: what HubSpot told us, kept before it was answered."""

from typing import Any

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from crm.db import Base
from crm.models.base import big_id, created_timestamp, timestamp


class WebhookDelivery(Base):
    """A delivery, for the moment until its events stand in the inbox."""

    __tablename__ = "deliveries"

    id: Mapped[big_id]
    body: Mapped[bytes]
    """A JSON array of events, each of which has the number of its ``portalId``; by zlib."""
    received_at: Mapped[created_timestamp]


class WebhookEvent(Base):
    """One event of a webhook delivery, as it came: not in order, and perhaps more than once."""

    __tablename__ = "inbox"
    __table_args__ = (
        Index(
            "ix_inbox_waiting", "hub_id", "due_at", postgresql_where=text("processed_at IS NULL")
        ),
    )

    id: Mapped[big_id]
    hub_id: Mapped[int] = mapped_column(BigInteger)
    """The portal that the event is about; one app's deliveries may mix several."""
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    received_at: Mapped[created_timestamp]
    due_at: Mapped[created_timestamp]
    """Not to be looked at before: HubSpot may know nothing yet of what it has just told."""
    attempts: Mapped[int] = mapped_column(server_default="0")
    processed_at: Mapped[timestamp | None]
    outcome: Mapped[str | None]
    """What came of it: ``known``, ``read``, ``purged``, ``ignored`` or ``given up``."""
