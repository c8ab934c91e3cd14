"""Callers: who a request comes from, and what they may see."""

from dataclasses import dataclass
from uuid import UUID

from flask import current_app
from sqlalchemy import func, select

from crm.extensions import db
from crm.models import ApiKey, Portal, SignIn, User
from crm.services.api_keys import digest_of

_NO_CONTACT = 0
"""No row's id: what a user without a contact may see where users see only their own."""


@dataclass(frozen=True)
class Caller:
    """Whoever calls, in the one organization whose rows they may see."""

    organization_id: int
    portal_id: int
    role: str
    """``user``, ``admin`` or ``key``; a key may do what an admin may."""
    user_id: int | None = None
    contact_id: int | None = None

    @property
    def only_contact_id(self) -> int | None:
        """The one contact that the caller may see, where users see no others; None for all."""
        visible = current_app.extensions["crm_settings"].contacts_visible_to_users
        if self.role != "user" or visible == "all":
            return None
        return self.contact_id or _NO_CONTACT


_SIGNED_IN = (
    select(
        User.organization_id,
        Portal.id.label("portal_id"),
        User.role,
        User.id.label("user_id"),
        User.contact_id,
    )
    .join(SignIn, SignIn.user_id == User.id)
    .join(Portal, Portal.organization_id == User.organization_id)
    .where(SignIn.ended_at.is_(None), SignIn.expires_at > func.now())
)


def find_signed_in(user_id: int, sign_in_id: UUID) -> Caller | None:
    """The user of a sign-in that has not ended."""
    row = db.session.execute(
        _SIGNED_IN.where(SignIn.id == sign_in_id, User.id == user_id)
    ).one_or_none()
    return Caller(*row) if row else None


def find_key_holder(key: str) -> Caller | None:
    """The organization whose key this is, while the key is in force."""
    row = db.session.execute(
        select(ApiKey.organization_id, Portal.id)
        .join(Portal, Portal.organization_id == ApiKey.organization_id)
        .where(ApiKey.digest == digest_of(key), ApiKey.revoked_at.is_(None))
    ).one_or_none()
    return Caller(*row, role="key") if row else None
