"""Customers as applications read them: a mirrored contact by its e-mail."""

from typing import Any

from sqlalchemy import text

from crm.errors import NotFoundError
from crm.extensions import db

_LONGEST_EMAIL = 254

_FIND = text("""
    SELECT uuid, email, properties ->> 'firstname' AS firstname,
        properties ->> 'lastname' AS lastname, properties ->> 'phone' AS phone,
        properties ->> 'company' AS company, properties ->> 'website' AS website,
        properties ->> 'lifecyclestage' AS lifecyclestage,
        created_at AS createdat, updated_at AS updatedat,
        hs_object_id AS hubspot_id, hs_created_at AS hubspot_createdat,
        hs_modified_at AS hubspot_updatedat, state AS sync_state
    FROM records
    WHERE portal_id = :portal_id AND email = lower(:email) AND archived_at IS NULL
        AND (CAST(:only_contact_id AS bigint) IS NULL OR id = :only_contact_id)
""")


def find_customer(
    portal_id: int, email: str, *, only_contact_id: int | None = None
) -> dict[str, Any]:
    """The customer with this e-mail, in whichever case its letters are.

    Args:
        portal_id: whose mirror.
        email: as the caller wrote it.
        only_contact_id: the one contact that the caller may see; None for all.

    Raises:
        NotFoundError: there is none, or it is not for this caller.
    """
    row = None
    if len(email) <= _LONGEST_EMAIL and "\0" not in email:
        parameters = {
            "portal_id": portal_id,
            "email": email.strip(),
            "only_contact_id": only_contact_id,
        }
        row = db.session.execute(_FIND, parameters).mappings().one_or_none()
    if row is None:
        raise NotFoundError(f"Customer with email {email[:_LONGEST_EMAIL]} not found")
    return dict(row)
