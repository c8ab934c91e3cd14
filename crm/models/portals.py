"""Portals: the HubSpot accounts that the mirror belongs to."""

from sqlalchemy import BigInteger, ForeignKey, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from crm.db import Base
from crm.models.base import big_id, created_timestamp, timestamp


class Portal(Base):
    """An organization's HubSpot account, and how sending to it is going."""

    __tablename__ = "portals"

    id: Mapped[big_id]
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"), unique=True)
    hub_id: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    time_zone: Mapped[str] = mapped_column(server_default="UTC")
    """In which the portal's day begins, and with it a new quota."""
    set_up_at: Mapped[timestamp | None]
    """When it was last seen to be the mirror's, and its ``crm_uid`` properties were looked for."""
    push_failures: Mapped[int] = mapped_column(server_default="0")
    """Attempts in a row that ended in a transient failure."""
    push_retry_at: Mapped[timestamp | None]
    push_error: Mapped[str | None]
    blocked: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=text("'{}'"))
    """Object types, and associations such as ``contacts to deals``, that HubSpot does not let us
    write, with its reasons. Until ``push_retry_at`` they are left alone; all else goes on."""
    seed_digest: Mapped[bytes | None]
    """Of the setting that the tokens below began with; another value begins anew."""
    refresh_token: Mapped[bytes | None]
    """Encrypted, as is the access token."""
    access_token: Mapped[bytes | None]
    access_expires_at: Mapped[timestamp | None]
    refresh_leased_until: Mapped[timestamp | None]
    """Until then one process is about to refresh, and the others keep off."""
    disabled_reason: Mapped[str | None]
    """Why HubSpot will not give tokens any more."""
    created_at: Mapped[created_timestamp]
    asked_at: Mapped[timestamp | None]
    """When HubSpot was last asked whether it answers."""
    answer_ms: Mapped[float | None]
    """How long that took; None if it did not answer."""
