"""Who may call: organizations, their users and API keys, and the sign-ins of users."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from crm.db import Base
from crm.models.base import big_id, created_timestamp, timestamp

IDENTIFIER = "[a-z][a-z0-9_]{0,54}"
"""An organization's: behind ``hubspot_`` it is the name of a schema, which needs no quotes."""


class Organization(Base):
    """A tenant: it sees its own users, keys and portal, and nothing of another's."""

    __tablename__ = "organizations"
    __table_args__ = (CheckConstraint(f"identifier ~ '^{IDENTIFIER}$'", name="identifier"),)

    id: Mapped[big_id]
    name: Mapped[str] = mapped_column(unique=True)
    identifier: Mapped[str | None] = mapped_column(unique=True)
    """What applications call it, such as ``org_123456``."""
    created_at: Mapped[created_timestamp]


class User(Base):
    """A person who signs in; ``contact_id`` is the mirror row of the same person."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("role IN ('user', 'admin')", name="role"),)

    id: Mapped[big_id]
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"), index=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(server_default="user")
    contact_id: Mapped[int | None] = mapped_column(ForeignKey("records.id"), index=True)
    created_at: Mapped[created_timestamp]

    organization: Mapped[Organization] = relationship()


class SignIn(Base):
    """One sign-in on one device, from its login to its logout, however often it is refreshed.

    Every token names its sign-in, so ending the row ends all its tokens. Only the newest refresh
    token counts; the one before is honoured for a moment, since its answer may have been lost.
    """

    __tablename__ = "sign_ins"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    refresh_id: Mapped[UUID]
    previous_refresh_id: Mapped[UUID | None]
    refreshed_at: Mapped[created_timestamp]
    expires_at: Mapped[timestamp] = mapped_column(index=True)
    ended_at: Mapped[timestamp | None]


class ApiKey(Base):
    """A key of an organization's application; only its digest is stored."""

    __tablename__ = "api_keys"

    id: Mapped[big_id]
    organization_id: Mapped[int] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[created_timestamp]
    revoked_at: Mapped[timestamp | None]
