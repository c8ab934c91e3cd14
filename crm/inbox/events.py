"""Read what an event of a webhook says, in HubSpot's classic form or in the generic one.

A notice is a hint at which records and pairs to look. What it says of their values serves only to
tell that the mirror knows already.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from crm.object_types import ASSOCIATIONS, CONTACTS, OBJECT_TYPES, AssociationType, ObjectType

CREATION, DELETION, RESTORE, MERGE = "creation", "deletion", "restore", "merge"
PROPERTY_CHANGE, ASSOCIATION_CHANGE = "propertyChange", "associationChange"
PRIVACY_DELETION = "privacyDeletion"

_ABOUT_ONE_RECORD = (CREATION, DELETION, RESTORE, PROPERTY_CHANGE, PRIVACY_DELETION)
_REDACTED = "REDACTED"
"""Instead of a sensitive value. Source: HubSpot docs, webhooks guide."""
_ID = re.compile(r"[0-9]{1,20}")
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_BY_SINGULAR = {each.singular: each for each in OBJECT_TYPES.values()}
_BY_TYPE_ID = {each.type_id: each for each in OBJECT_TYPES.values()}
_DECLARED: Mapping[tuple[ObjectType | None, ObjectType | None], AssociationType] = {
    (each.from_type, each.to_type): each for each in ASSOCIATIONS.values()
}
_BY_DIRECTION_NAME = {
    f"{one.singular}_TO_{other.singular}".upper(): (one, other)
    for each in ASSOCIATIONS.values()
    for one, other in ((each.from_type, each.to_type), (each.to_type, each.from_type))
}

Ref = tuple[str, str]
"""A record of HubSpot's: its type's name, and its id."""


@dataclass(frozen=True)
class Notice:
    """What one stored event says."""

    event_id: int
    """In the inbox."""
    attempts: int
    kind: str
    object_type: ObjectType
    ids: tuple[str, ...]
    """HubSpot's, of the records that it is about: of a merge the survivor, then the others; of an
    association the one at the end from which the mirror keeps it."""
    occurred_at: datetime
    name: str = ""
    value: str | None = None
    """Of the property; None if there is none, or HubSpot keeps it to itself."""
    is_redacted: bool = False
    association: AssociationType | None = None
    other_id: str = ""
    is_removed: bool = False
    is_label: bool = False
    """Without it the pair may be associated still."""

    @property
    def refs(self) -> list[Ref]:
        """Every record that it names."""
        own = [(self.object_type.name, each) for each in self.ids]
        return [*own, (self.association.to_type.name, self.other_id)] if self.association else own


def read_notice(event_id: int, attempts: int, payload: Mapping[str, Any]) -> Notice | None:
    """What an event says; None of one that is about nothing that the mirror holds.

    Args:
        event_id: in the inbox.
        attempts: how often it was looked at in vain.
        payload: as HubSpot sent it. Its fields are as HubSpot's docs and recorded deliveries
            show them; ``eventType`` stands for ``subscriptionType`` in older examples.
    """
    event_type = payload.get("subscriptionType") or payload.get("eventType")
    prefix, _, kind = event_type.partition(".") if isinstance(event_type, str) else ("", "", "")
    object_type = _BY_SINGULAR.get(prefix)
    if prefix == "object":
        object_type = _BY_TYPE_ID.get(str(payload.get("objectTypeId")))
    if kind == ASSOCIATION_CHANGE:
        return _read_association(event_id, attempts, payload)
    if object_type is None:
        return None
    ids = _read_ids(kind, payload)
    if not ids or (kind == PRIVACY_DELETION and object_type is not CONTACTS):
        return None
    name, value = payload.get("propertyName"), payload.get("propertyValue")
    return Notice(
        event_id,
        attempts,
        kind,
        object_type,
        ids,
        _read_time(payload),
        name=name if isinstance(name, str) else "",
        value=value if isinstance(value, str) else None,
        is_redacted=value == _REDACTED or payload.get("isSensitive") is True,
    )


def _read_ids(kind: str, payload: Mapping[str, Any]) -> tuple[str, ...]:
    if kind in _ABOUT_ONE_RECORD:
        values = [payload.get("objectId")]
    elif kind == MERGE:
        merged = payload.get("mergedObjectIds")
        values = [payload.get("newObjectId"), payload.get("primaryObjectId")]
        values += merged if isinstance(merged, list) else []
    else:
        return ()
    ids = [_id(each) for each in values]
    return tuple(dict.fromkeys(each for each in ids if each))


def _read_association(event_id: int, attempts: int, payload: Mapping[str, Any]) -> Notice | None:
    named = _BY_DIRECTION_NAME.get(str(payload.get("associationType")))
    ends = named or (
        _BY_TYPE_ID.get(str(payload.get("fromObjectTypeId"))),
        _BY_TYPE_ID.get(str(payload.get("toObjectTypeId"))),
    )
    ids = _id(payload.get("fromObjectId")), _id(payload.get("toObjectId"))
    if ends not in _DECLARED:
        # HubSpot tells of both directions.
        ends, ids = ends[::-1], ids[::-1]
    association = _DECLARED.get(ends)
    if not (association and all(ids)):
        return None
    return Notice(
        event_id,
        attempts,
        ASSOCIATION_CHANGE,
        association.from_type,
        ids[:1],
        _read_time(payload),
        association=association,
        other_id=ids[1],
        is_removed=payload.get("associationRemoved") is True,
        is_label=payload.get("isPrimaryAssociation") is True
        or payload.get("associationCategory") == "USER_DEFINED",
    )


def _read_time(payload: Mapping[str, Any]) -> datetime:
    """When it happened; an event that does not say it is taken for news."""
    occurred = payload.get("occurredAt")
    try:
        return _EPOCH + timedelta(milliseconds=occurred) if type(occurred) is int else _LATEST
    except OverflowError:
        return _LATEST


def _id(value: Any) -> str:
    """An id as text; HubSpot tells it as a number here."""
    return str(value) if type(value) in (int, str) and _ID.fullmatch(str(value)) else ""
