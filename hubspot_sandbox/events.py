"""What happened in a portal, as its webhooks and their journal will tell it.

Changes emit events as they are made; a transaction that is undone takes its events along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

CREATION: Final = "creation"
DELETION: Final = "deletion"
PRIVACY_DELETION: Final = "privacyDeletion"
RESTORE: Final = "restore"
MERGE: Final = "merge"
PROPERTY_CHANGE: Final = "propertyChange"
ASSOCIATION_CHANGE: Final = "associationChange"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one record, or to one direction of an association.

    ``at`` is the moment in epoch milliseconds. ``details`` are the fields of HubSpot's payload that
    the kind adds: ``propertyName``, ``propertyValue``; ``primaryObjectId``, ``mergedObjectIds``,
    ``newObjectId``, ``numberOfPropertiesMoved``; ``fromObjectId``, ``toObjectId``,
    ``associationTypeId``, ``associationRemoved``, and ``toObjectType`` by its name.
    """

    kind: str
    object_type: str
    object_id: int
    at: int
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something: HubSpot's change source, and the app or user behind it."""

    source: str
    source_id: str


def app_as_actor(app_id: int) -> Actor:
    """Return the actor of an API call."""
    return Actor("INTEGRATION", str(app_id))


def user_as_actor(user_id: int) -> Actor:
    """Return the actor of a change that somebody makes in HubSpot's own screens."""
    return Actor("CRM_UI", f"userId:{user_id}")


class Audience(Protocol):
    """Whoever is told of a portal's events."""

    def listens_to(self, portal_id: int) -> bool:
        """Say whether anybody wants to hear of the portal: if not, events are not even made."""

    def publish(self, portal_id: int, actor: Actor, events: Sequence[Event]) -> None:
        """Take the events of a transaction that stays; called with the portal locked."""
