"""The inbox: what HubSpot told us, kept before it was answered."""

from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from crm.extensions import Base
from crm.models.base import big_id, created_timestamp


class WebhookEvent(Base):
    """One event of a webhook delivery, as it came: not in order, and perhaps more than once."""

    __tablename__ = "inbox"

    id: Mapped[big_id]
    hub_id: Mapped[int] = mapped_column(BigInteger)
    """The portal that the event is about; one app's deliveries may mix several."""
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    received_at: Mapped[created_timestamp]
