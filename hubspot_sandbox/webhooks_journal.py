"""The Webhooks Journal: events that an app fetches, entry by entry, instead of being called.

Source: HubSpot docs, webhooks journal guides, and its published specification. It has
subscriptions of its own, per portal; entries are kept for three days. The names of the fields
inside an event are those that a tool of a HubSpot employee reads; their values are unverified.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from threading import Lock
from typing import Any, Final
from uuid import UUID, uuid4

from hubspot_sandbox import events
from hubspot_sandbox.clock import DAY_MS, Clock, iso
from hubspot_sandbox.errors import resource_not_found
from hubspot_sandbox.events import Event
from hubspot_sandbox.object_types import OBJECT_TYPES

RETENTION_MS: Final = 3 * DAY_MS
_MOST_ENTRIES: Final = 10_000

OBJECT: Final = "OBJECT"
ASSOCIATION: Final = "ASSOCIATION"
PRIVACY_DELETION: Final = "GDPR_PRIVACY_DELETION"
ACTIONS: Final = {
    OBJECT: frozenset({"CREATE", "UPDATE", "DELETE", "MERGE", "RESTORE"}),
    ASSOCIATION: frozenset({"ASSOCIATION_ADDED", "ASSOCIATION_REMOVED"}),
    PRIVACY_DELETION: frozenset({"GDPR_DELETE"}),
}
_ACTION_OF_KIND: Final = {
    events.CREATION: (OBJECT, "CREATE"),
    events.PROPERTY_CHANGE: (OBJECT, "UPDATE"),
    events.DELETION: (OBJECT, "DELETE"),
    events.MERGE: (OBJECT, "MERGE"),
    events.RESTORE: (OBJECT, "RESTORE"),
    events.PRIVACY_DELETION: (PRIVACY_DELETION, "GDPR_DELETE"),
}


@dataclass(slots=True)
class JournalSubscription:
    """What an app wants to find in its journal of one portal; no properties means all."""

    app_id: int
    portal_id: int
    subscription_type: str
    object_type_id: str
    actions: list[str]
    properties: list[str] = field(default_factory=list)
    id: int = 0
    created_at: int = 0

    def render(self) -> dict[str, Any]:
        """Return the subscription as HubSpot's JSON."""
        return {
            "id": self.id,
            "appId": self.app_id,
            "portalId": self.portal_id,
            "subscriptionType": self.subscription_type,
            "objectTypeId": self.object_type_id,
            "actions": self.actions,
            "properties": self.properties or None,
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """Some events of one portal under one offset."""

    offset: str
    app_id: int
    portal_id: int
    published_at: int
    events: list[dict[str, Any]]

    def render(self) -> dict[str, Any]:
        """Return the file that the entry's URL leads to."""
        return {
            "offset": self.offset,
            "journalEvents": self.events,
            "publishedAt": iso(self.published_at),
        }


class WebhooksJournal:
    """The journals of all apps; a bounded number of entries, the oldest go first."""

    def __init__(self, clock: Clock) -> None:
        """Start with no subscriptions."""
        self.changes = 0
        self._clock = clock
        self._subscriptions: dict[int, JournalSubscription] = {}
        self._entries: deque[Entry] = deque(maxlen=_MOST_ENTRIES)
        self._next_id = 1
        self._lock = Lock()

    def subscribe(self, wanted: JournalSubscription) -> JournalSubscription:
        """Add a subscription and give it its id."""
        with self._lock:
            wanted.id, self._next_id = self._next_id, self._next_id + 1
            wanted.created_at = self._clock.now_ms()
            self._subscriptions[wanted.id] = wanted
            self.changes += 1
        return wanted

    def unsubscribe(self, app_id: int, subscription_id: int) -> None:
        """Forget a subscription; raise 404 when the app has none with that id."""
        self.get(app_id, subscription_id)
        with self._lock:
            self._subscriptions.pop(subscription_id, None)
            self.changes += 1

    def get(self, app_id: int, subscription_id: int) -> JournalSubscription:
        """Return an app's subscription; raise 404 when it has none with that id."""
        found = self._subscriptions.get(subscription_id)
        if found is None or found.app_id != app_id:
            raise resource_not_found()
        return found

    def subscriptions(self, app_id: int) -> list[JournalSubscription]:
        """Return an app's subscriptions, oldest first."""
        return [each for each in self._all() if each.app_id == app_id]

    def apps_listening_to(self, portal_id: int) -> set[int]:
        """Return the ids of the apps that have a subscription in the portal."""
        return {each.app_id for each in self._all() if each.portal_id == portal_id}

    def publish(self, portal_id: int, app_ids: Iterable[int], happened: Sequence[Event]) -> None:
        """Write an entry into the journal of each app that asked for any of the events."""
        for app_id in app_ids:
            wanted = [each for each in self.subscriptions(app_id) if each.portal_id == portal_id]
            written = _written(portal_id, wanted, happened)
            if written:
                now = self._clock.now_ms()
                with self._lock:
                    self._entries.append(Entry(str(uuid4()), app_id, portal_id, now, written))

    def entries(
        self, app_id: int, portal_id: int | None = None, after: str | None = None
    ) -> list[Entry]:
        """Return the entries of an app, oldest first: all of them, or those after an offset.

        Raises 404 for an offset that is unknown or too old.
        """
        with self._lock:
            oldest = self._clock.now_ms() - RETENTION_MS
            while self._entries and self._entries[0].published_at < oldest:
                self._entries.popleft()
            start = 0
            if after is not None:
                offsets = (n for n, each in enumerate(self._entries) if each.offset == after)
                place = next(offsets, None)
                if place is None or self._entries[place].app_id != app_id:
                    raise resource_not_found()
                start = place + 1
            return [
                each
                for each in islice(self._entries, start, None)
                if each.app_id == app_id and portal_id in (None, each.portal_id)
            ]

    def find(self, offset: UUID) -> Entry | None:
        """Return the entry at an offset, whosoever it is."""
        with self._lock:
            return next((each for each in self._entries if each.offset == str(offset)), None)

    def clear(self) -> None:
        """Forget all entries; the subscriptions stay."""
        with self._lock:
            self._entries.clear()

    def dump(self) -> list[dict[str, Any]]:
        """Return the subscriptions, for the state file."""
        return [asdict(each) for each in self._all()]

    def load(self, dumped: Sequence[Mapping[str, Any]]) -> None:
        """Take back what `dump` gave."""
        loaded = [JournalSubscription(**each) for each in dumped]
        with self._lock:
            self._subscriptions = {each.id: each for each in loaded}
            self._next_id = 1 + max(self._subscriptions, default=0)

    def _all(self) -> list[JournalSubscription]:
        return list(self._subscriptions.values())


def _written(
    portal_id: int, wanted: Sequence[JournalSubscription], happened: Sequence[Event]
) -> list[dict[str, Any]]:
    """Return the journal's events; the changed properties of a record are one update."""
    written: list[dict[str, Any]] = []
    updates: dict[tuple[str, int], dict[str, Any]] = {}
    for event in happened:
        kind, action = _classify(event)
        type_id = OBJECT_TYPES[event.object_type].type_id
        name = event.details.get("propertyName")
        if not any(_asks_for(each, kind, action, type_id, name) for each in wanted):
            continue
        key = (event.object_type, event.object_id)
        if action == "UPDATE" and key in updates:
            updates[key]["propertyChanges"][name] = event.details["propertyValue"]
            continue
        item = {
            "type": kind,
            "action": action,
            "portalId": portal_id,
            "occurredAt": iso(event.at),
            "objectTypeId": type_id,
            "objectId": event.object_id,
            **_details(event),
        }
        if action == "UPDATE":
            updates[key] = item
        written.append(item)
    return written


def _classify(event: Event) -> tuple[str, str]:
    if event.kind != events.ASSOCIATION_CHANGE:
        return _ACTION_OF_KIND[event.kind]
    removed = event.details["associationRemoved"]
    return ASSOCIATION, "ASSOCIATION_REMOVED" if removed else "ASSOCIATION_ADDED"


def _asks_for(
    wanted: JournalSubscription, kind: str, action: str, type_id: str, name: str | None
) -> bool:
    return (
        wanted.subscription_type == kind
        and wanted.object_type_id == type_id
        and action in wanted.actions
        and (name is None or not wanted.properties or name in wanted.properties)
    )


def _details(event: Event) -> dict[str, Any]:
    details = event.details
    if event.kind == events.PROPERTY_CHANGE:
        return {"propertyChanges": {details["propertyName"]: details["propertyValue"]}}
    if event.kind == events.ASSOCIATION_CHANGE:
        return {
            "associatedObjectId": details["toObjectId"],
            "associatedObjectTypeId": OBJECT_TYPES[details["toObjectType"]].type_id,
            "associationTypeId": details["associationTypeId"],
        }
    return dict(details)
