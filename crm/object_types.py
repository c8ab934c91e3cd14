"""HubSpot's object types as this service knows them, each one declaration.

To add an object type, add a declaration to ``OBJECT_TYPES`` and, where it hangs together with
others, its pairs to ``ASSOCIATIONS``. Everything else loops over these two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

CRM_UID = "crm_uid"
"""The property with ``hasUniqueValue`` by which rows without a natural key are upserted."""
MERGED_IDS = "hs_merged_object_ids"
"""HubSpot's property of the ids that were merged into a record."""


@dataclass(frozen=True)
class ObjectType:
    """What differs between one object type and another."""

    name: str
    """HubSpot's plural name, used in paths: ``contacts``."""
    singular: str
    type_id: str
    """HubSpot's ``objectTypeId``: ``0-1``."""
    id_property: str
    """The unique property that an upsert goes by."""
    modified_property: str
    """Contacts are alone in calling it ``lastmodifieddate``."""
    answer: tuple[str, ...]
    """The wire names of an answer's fields after ``id`` and ``hs_object_id``, in their order."""
    key_property: str | None = None
    """The property by which callers name a record; None: they give an ``external_id`` instead."""
    wire_names: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Wire name to HubSpot's property, where the two differ."""
    filters: tuple[str, ...] = ()
    """The wire names by which lists can be filtered."""
    stage_property: str | None = None
    pipeline_property: str | None = None

    def property_for(self, wire_name: str) -> str:
        """HubSpot's name of the property that the wire calls ``wire_name``."""
        return self.wire_names.get(wire_name, wire_name)


@dataclass(frozen=True)
class AssociationType:
    """One direction in which two object types are associated, unlabelled."""

    from_type: ObjectType
    to_type: ObjectType
    type_id: int
    """HubSpot's ``associationTypeId``, category HUBSPOT_DEFINED."""

    @property
    def name(self) -> str:
        """What people read: ``contacts to deals``."""
        return f"{self.from_type.name} to {self.to_type.name}"


CONTACTS = ObjectType(
    name="contacts",
    singular="contact",
    type_id="0-1",
    id_property="email",
    modified_property="lastmodifieddate",
    answer=("email", "firstname", "lastname", "createdate", "lastmodifieddate"),
    key_property="email",
    filters=("email", "firstname", "lastname", "phone", "company", "lifecyclestage"),
)
COMPANIES = ObjectType(
    name="companies",
    singular="company",
    type_id="0-2",
    id_property=CRM_UID,
    modified_property="hs_lastmodifieddate",
    answer=("name", "domain", "createdate", "hs_lastmodifieddate"),
    key_property="domain",
    filters=("name", "domain"),
)
DEALS = ObjectType(
    name="deals",
    singular="deal",
    type_id="0-3",
    id_property=CRM_UID,
    modified_property="hs_lastmodifieddate",
    answer=(
        "dealname",
        "dealstage",
        "pipeline",
        "amount",
        "closedate",
        "createdate",
        "hs_lastmodifieddate",
    ),
    filters=("dealname", "dealstage", "pipeline", "amount"),
    stage_property="dealstage",
    pipeline_property="pipeline",
)
TICKETS = ObjectType(
    name="tickets",
    singular="ticket",
    type_id="0-5",
    id_property=CRM_UID,
    modified_property="hs_lastmodifieddate",
    answer=(
        "subject",
        "description",
        "category",
        "pipeline",
        "hs_pipeline_stage",
        "hs_ticket_priority",
        "createdate",
        "hs_lastmodifieddate",
    ),
    wire_names=MappingProxyType(
        {
            "description": "content",
            "category": "hs_ticket_category",
            "pipeline": "hs_pipeline",
        }
    ),
    filters=("subject", "category", "hs_pipeline_stage", "hs_ticket_priority"),
    stage_property="hs_pipeline_stage",
    pipeline_property="hs_pipeline",
)
LINE_ITEMS = ObjectType(
    name="line_items",
    singular="line_item",
    type_id="0-8",
    id_property=CRM_UID,
    modified_property="hs_lastmodifieddate",
    answer=("name", "quantity", "price", "amount", "createdate", "hs_lastmodifieddate"),
    filters=("name",),
)

OBJECT_TYPES: Mapping[str, ObjectType] = MappingProxyType(
    {each.name: each for each in (CONTACTS, COMPANIES, DEALS, TICKETS, LINE_ITEMS)}
)
"""By name, in the order in which push sends them."""

CONTACT_TO_DEAL = AssociationType(CONTACTS, DEALS, 4)
DEAL_TO_TICKET = AssociationType(DEALS, TICKETS, 27)

ASSOCIATIONS: Mapping[int, AssociationType] = MappingProxyType(
    {
        each.type_id: each
        for each in (
            CONTACT_TO_DEAL,
            DEAL_TO_TICKET,
            AssociationType(CONTACTS, COMPANIES, 279),
            AssociationType(CONTACTS, TICKETS, 15),
            AssociationType(DEALS, COMPANIES, 341),
            AssociationType(DEALS, LINE_ITEMS, 19),
            AssociationType(TICKETS, COMPANIES, 339),
        )
    }
)
"""By type id: the one direction of each pair in which the mirror keeps it.

The ids are HubSpot's unlabelled ones (documentation: associations, "associate records");
1, 5 and 26 would be the primary company instead.
"""
