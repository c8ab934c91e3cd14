"""Schemas: which properties a portal's records have, and which of them the mirror holds."""

from crm.objects import CRM_UID, ObjectType
from crm.services.matching import MERGED_IDS


def list_mirrored(portal_id: int, object_type: ObjectType) -> list[str]:
    """The properties that are read from HubSpot into the mirror."""
    names = [
        *map(object_type.property_for, (*object_type.answer, *object_type.filters)),
        object_type.id_property,
        object_type.modified_property,
        "createdate",
        CRM_UID,
        MERGED_IDS,
    ]
    return list(dict.fromkeys(names))
