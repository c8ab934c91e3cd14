"""Find who a request comes from, and what they may see."""

from dataclasses import dataclass
from uuid import UUID

from flask import current_app

from crm.accounts.api_keys import digest_of
from crm.accounts.demo import TRIAL_HASHES
from crm.db import read
from crm.portals.portals import DEFAULT_ORGANIZATION

_NO_CONTACT = 0
"""No row's id: what a user without a contact may see where users see only their own."""


@dataclass(frozen=True)
class Caller:
    """Who calls, in the one organization whose rows they may see."""

    organization_id: int
    portal_id: int
    role: str
    """``user``, ``admin`` or ``key``; a key may do what an admin may."""
    user_id: int | None = None
    contact_id: int | None = None
    key_id: int | None = None
    is_open_access: bool = False
    """Whether nobody signed in: somebody tries the service out on the machine that runs it."""

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do what an admin of the organization may."""
        return self.role != "user"

    @property
    def only_contact_id(self) -> int | None:
        """The one contact that the caller may see, where users see no others; None for all."""
        visible = current_app.extensions["crm_settings"].contacts_visible_to_users
        if self.role != "user" or visible == "all":
            return None
        return self.contact_id or _NO_CONTACT


_SIGNED_IN = """
    SELECT users.organization_id, portals.id, users.role, users.id, users.contact_id
    FROM sign_ins
    JOIN users ON users.id = sign_ins.user_id
    JOIN portals ON portals.organization_id = users.organization_id
    WHERE sign_ins.id = CAST(:sign_in_id AS uuid)
        AND sign_ins.ended_at IS NULL AND sign_ins.expires_at > now()
        AND users.password_hash <> ALL(CAST(:closed AS text[]))
"""


_KEY_HOLDER = """
    SELECT api_keys.organization_id, portals.id, 'key', NULL, NULL, api_keys.id
    FROM api_keys JOIN portals ON portals.organization_id = api_keys.organization_id
    WHERE digest = CAST(:digest AS bytea) AND revoked_at IS NULL
"""

_OPEN = """
    SELECT organizations.id, portals.id
    FROM organizations JOIN portals ON portals.organization_id = organizations.id
    WHERE organizations.name = :name
"""


def is_open_access_on() -> bool:
    """Whether ``run.py`` started this process for people who try the service out."""
    return bool(current_app.extensions["crm_open_access"])


def find_open_caller() -> Caller | None:
    """Find who comes in by open access: an admin of the default organization; None while it is off.

    Whether a request may come in so, ``crm.open_access`` decides.
    """
    if not is_open_access_on():
        return None
    rows = read(_OPEN, {"name": DEFAULT_ORGANIZATION})
    if not rows:
        return None
    organization_id, portal_id = rows[0]
    return Caller(organization_id, portal_id, "admin", is_open_access=True)


def find_signed_in(user_id: int, sign_in_id: UUID) -> Caller | None:
    """The user of a sign-in that has not ended."""
    closed = [] if is_open_access_on() else TRIAL_HASHES
    rows = read(_SIGNED_IN, {"sign_in_id": str(sign_in_id), "closed": closed})
    caller = Caller(*rows[0]) if rows else None
    return caller if caller and caller.user_id == user_id else None


def find_key_holder(key: str) -> Caller | None:
    """The organization whose key this is, while the key is in force."""
    rows = read(_KEY_HOLDER, {"digest": digest_of(key)})
    return Caller(*rows[0]) if rows else None
