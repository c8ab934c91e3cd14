"""Delete here, too, whatever concerns a person who was deleted in HubSpot for good."""

from collections.abc import Collection

import structlog
from sqlalchemy import text

from crm.db import transaction
from crm.inbox.receive import unpack
from crm.object_types import CONTACTS

log = structlog.get_logger(__name__)

_ABOUT_CONTACTS = """
    (coalesce(payload ->> 'subscriptionType', payload ->> 'eventType') LIKE 'contact.%'
        OR payload ->> 'objectTypeId' = '0-1')
"""

# By everything that the record was ever called: its id, and those that were merged into it, of
# which an event may be the only one to tell.
_IDS = text(f"""
    WITH RECURSIVE merges AS (
        SELECT payload ->> 'newObjectId' AS new_id, old_id
        FROM inbox JOIN portals ON portals.hub_id = inbox.hub_id AND portals.id = :portal_id
        CROSS JOIN LATERAL jsonb_array_elements_text(
            jsonb_build_array(payload -> 'primaryObjectId') || coalesce(
                payload -> 'mergedObjectIds', '[]')) AS old_id
        WHERE payload ? 'newObjectId' AND {_ABOUT_CONTACTS}
    ), ids AS (
        SELECT hs_object_id FROM unnest(CAST(:ids AS text[])) AS hs_object_id
        UNION
        SELECT old_id FROM ids JOIN merges ON new_id = hs_object_id
    )
    SELECT hs_object_id FROM ids
    UNION
    SELECT aliases.hs_object_id FROM record_aliases AS aliases
    JOIN records ON records.id = aliases.record_id
    JOIN ids ON ids.hs_object_id = records.hs_object_id
    WHERE records.portal_id = :portal_id AND records.object_type = :object_type
""")  # noqa: S608 - our own

_STEPS = tuple(
    text(each)
    for each in (
        # What still tells of them is not listened to.
        """INSERT INTO record_aliases (portal_id, object_type, hs_object_id, record_id)
            SELECT :portal_id, :object_type, id, NULL FROM unnest(CAST(:ids AS text[])) AS id
            ON CONFLICT (portal_id, object_type, hs_object_id) DO UPDATE SET record_id = NULL""",
        """DELETE FROM users USING records WHERE records.id = users.contact_id
            AND records.portal_id = :portal_id AND records.object_type = :object_type
            AND records.hs_object_id = ANY(:ids)""",
        """DELETE FROM records WHERE portal_id = :portal_id AND object_type = :object_type
            AND hs_object_id = ANY(:ids)""",
        f"""UPDATE inbox SET payload = payload - 'propertyValue'
            FROM portals WHERE portals.id = :portal_id AND inbox.hub_id = portals.hub_id
            AND payload ? 'propertyValue' AND payload ->> 'objectId' = ANY(:ids)
            AND {_ABOUT_CONTACTS}""",  # noqa: S608 - our own
    )
)


def purge_contacts(portal_id: int, ids: Collection[str]) -> None:
    """Delete contacts by HubSpot's ids, with their history, their accounts and what events say."""
    unpack()
    keys = {"portal_id": portal_id, "object_type": CONTACTS.name}
    with transaction() as session:
        every_id = list(session.scalars(_IDS, {**keys, "ids": list(ids)}))
        for step in _STEPS:
            session.execute(step, {**keys, "ids": every_id})
    log.info("contacts purged", contacts=len(ids))
