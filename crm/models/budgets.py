"""What may be asked of HubSpot: the calls of its rolling windows, and the day's quota.

Unlogged, because they are written with every call, and what a crash of Postgres takes away is
learnt again from HubSpot's next answer.
"""

from datetime import timedelta
from typing import Annotated

from sqlalchemy import BigInteger, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from crm.db import Base
from crm.models.base import timestamp

_NEVER = text("'-infinity'")
_portal_id = Annotated[int, mapped_column(BigInteger, primary_key=True, autoincrement=False)]
"""A portal's; or less than zero: minus the hub id of one that scans alone call."""


class CallWindow(Base):
    """One of HubSpot's rolling windows over a portal, shared by every process."""

    __tablename__ = "call_windows"
    # Room for the next versions of a row beside it: changing it then touches no index.
    __table_args__ = {"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": 25}}  # noqa: RUF012

    portal_id: Mapped[_portal_id]
    kind: Mapped[str] = mapped_column(primary_key=True)
    max_calls: Mapped[int]
    period: Mapped[timedelta]
    calls: Mapped[list[str]] = mapped_column(ARRAY(TIMESTAMP(True)), server_default=text("'{}'"))
    """When its last calls were or will be made, as booked."""
    next_at: Mapped[timestamp] = mapped_column(server_default=_NEVER)
    """From when on the paced lanes may book again."""
    closed_until: Mapped[timestamp] = mapped_column(server_default=_NEVER)
    """HubSpot answered 429."""


class DayQuota(Base):
    """The calls of one day, midnight to midnight in the portal's time zone."""

    __tablename__ = "day_quotas"
    __table_args__ = {"prefixes": ["UNLOGGED"], "postgresql_with": {"fillfactor": 25}}  # noqa: RUF012

    portal_id: Mapped[_portal_id]
    max_calls: Mapped[int | None]
    """As HubSpot's headers say; OAuth apps are told none."""
    began_at: Mapped[timestamp] = mapped_column(server_default=_NEVER)
    used: Mapped[int] = mapped_column(server_default="0")
    """By all apps of the portal where HubSpot tells, else by us."""
    used_by_hour: Mapped[dict[str, int]] = mapped_column(JSONB, server_default=text("'{}'"))
    """``used`` as it stood at the end of each hour of the day, ``{"0": 12, "1": 40}``."""
    learnt_at: Mapped[timestamp] = mapped_column(server_default=_NEVER)
    closed_until: Mapped[timestamp] = mapped_column(server_default=_NEVER)
    """HubSpot answered 429 for the day."""
