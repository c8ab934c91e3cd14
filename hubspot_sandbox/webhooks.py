"""What HubSpot tells apps of an event: one notification for each subscription that asks for it.

Source: HubSpot docs, webhooks guide, and payloads that real integrations recorded. Ids are
numbers here, unlike in the records of the API.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hubspot_sandbox import events
from hubspot_sandbox.access import App
from hubspot_sandbox.clock import Clock
from hubspot_sandbox.deliveries import Address, Deliveries, Notification
from hubspot_sandbox.events import Actor, Event
from hubspot_sandbox.object_types import ASSOCIATION_TYPES, OBJECT_TYPES
from hubspot_sandbox.subscriptions import AppWebhooks, Subscription
from hubspot_sandbox.webhooks_journal import WebhooksJournal

_CHANGE_FLAGS: Final = {events.CREATION: "NEW", events.DELETION: "DELETED"}
# Those name their records by other fields; real ones carry no objectId. Live observation.
_WITHOUT_OBJECT_ID: Final = frozenset({events.ASSOCIATION_CHANGE, events.MERGE})
_SILENT_IN_MERGES: Final = frozenset({events.CREATION, events.DELETION, events.PROPERTY_CHANGE})


class Webhooks:
    """The webhooks of all apps; the `Audience` of every portal."""

    def __init__(
        self, clock: Clock, apps: Mapping[int, App], is_installed: Callable[[int, int], bool]
    ) -> None:
        """Start without targets; ``is_installed`` says whether an app is, in a portal, by ids."""
        self._apps = apps
        self._is_installed = is_installed
        self._of_apps: dict[int, AppWebhooks] = {}
        self._event_ids: Counter[int] = Counter()
        self.deliveries = Deliveries(clock, self._find_address)
        self.journal = WebhooksJournal(clock)

    @property
    def changes(self) -> int:
        """How often anything was changed, for whoever keeps the state."""
        return self.journal.changes + sum(each.changes for each in self._of_apps.values())

    def of_app(self, app_id: int) -> AppWebhooks:
        """Return the webhooks of an app that is known."""
        return self._of_apps.setdefault(app_id, AppWebhooks())

    def listens_to(self, portal_id: int) -> bool:
        """Say whether any app that is installed in the portal has subscriptions at work."""
        return bool(self._listeners(portal_id) or self._readers(portal_id))

    def publish(self, portal_id: int, actor: Actor, happened: Sequence[Event]) -> None:
        """Tell every subscriber of a transaction's events."""
        notified = _as_notified(happened)
        self.journal.publish(portal_id, self._readers(portal_id), notified)
        first = self._event_ids[portal_id] + 1
        self._event_ids[portal_id] += len(notified)
        for app_id, webhooks in self._listeners(portal_id):
            notifications = [
                {**common, **_describe(event, subscription, actor)}
                for event_id, event in enumerate(notified, first)
                for subscription in webhooks.matching(OBJECT_TYPES[event.object_type], event)
                for common in [_common(event_id, subscription, portal_id, app_id, event)]
            ]
            if notifications:
                self.deliveries.add(app_id, notifications)

    def clear(self) -> None:
        """Forget what is to be delivered, and count events anew; targets and subscriptions stay."""
        self._event_ids.clear()
        self.deliveries.clear()
        self.journal.clear()

    def dump(self) -> dict[str, Any]:
        """Return targets and subscriptions, for the state file."""
        apps = [{"app_id": app_id, **each.dump()} for app_id, each in self._of_apps.items()]
        return {"apps": apps, "journal": self.journal.dump()}

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take back what `dump` gave."""
        for each in dumped["apps"]:
            self.of_app(each["app_id"]).load(each)
        self.journal.load(dumped["journal"])

    def _listeners(self, portal_id: int) -> list[tuple[int, AppWebhooks]]:
        return [
            (app_id, each)
            for app_id, each in list(self._of_apps.items())
            if each.listens and self._is_installed(app_id, portal_id)
        ]

    def _readers(self, portal_id: int) -> list[int]:
        """Return the apps that find the portal's events in their journal."""
        app_ids = self.journal.apps_listening_to(portal_id)
        return [each for each in app_ids if self._is_installed(each, portal_id)]

    def _find_address(self, app_id: int) -> Address | None:
        target, app = self.of_app(app_id).target, self._apps.get(app_id)
        if target is None or app is None:
            return None
        return Address(target.url, app.client_secret, target.max_concurrent_requests)


def _as_notified(happened: Sequence[Event]) -> list[Event]:
    """Tell a merge as HubSpot does: the record that was merged away is deleted, and that is all.

    The survivor's new values are not told, nor its creation when it has a new id. Source: live
    observation (amp-labs/connectors#3487).
    """
    notified = list(happened)
    for merge in [each for each in happened if each.kind == events.MERGE]:
        gone = merge.details["mergedObjectIds"]
        involved = {merge.details["primaryObjectId"], merge.details["newObjectId"], *gone}
        notified = [
            each
            for each in notified
            if each.kind not in _SILENT_IN_MERGES
            or each.object_type != merge.object_type
            or each.object_id not in involved
        ]
        notified += [Event(events.DELETION, merge.object_type, each, merge.at) for each in gone]
    return notified


def _common(
    event_id: int, subscription: Subscription, portal_id: int, app_id: int, event: Event
) -> Notification:
    """Return the fields that every notification has.

    ``eventId`` is counted for each portal by itself, and anew after a reset: HubSpot does not
    promise that it is unique.
    """
    return {
        "eventId": event_id,
        "subscriptionId": subscription.id,
        "portalId": portal_id,
        "appId": app_id,
        "occurredAt": event.at,
        "subscriptionType": subscription.event_type,
        "attemptNumber": 0,
    }


def _describe(event: Event, subscription: Subscription, actor: Actor) -> Notification:
    """Return what a notification says of its event, in the classic or the generic form."""
    by_person = actor.source == "CRM_UI"
    about_association = event.kind == events.ASSOCIATION_CHANGE
    described: Notification = {
        # Associations that a person makes are told as made by a USER. Live observation.
        "changeSource": "USER" if about_association and by_person else actor.source,
        "sourceId": actor.source_id,
    }
    if event.kind not in _WITHOUT_OBJECT_ID:
        described["objectId"] = event.object_id
    if event.kind in _CHANGE_FLAGS:
        described["changeFlag"] = _CHANGE_FLAGS[event.kind]
    if subscription.is_generic:
        described["objectTypeId"] = OBJECT_TYPES[event.object_type].type_id
    if about_association:
        return described | _describe_association(event, generic=subscription.is_generic)
    if event.kind == events.PROPERTY_CHANGE and subscription.is_generic:
        described["isSensitive"] = False
    return {**described, **event.details}


def _describe_association(event: Event, *, generic: bool) -> Notification:
    details, type_id = event.details, event.details["associationTypeId"]
    from_type, to_type = OBJECT_TYPES[event.object_type], OBJECT_TYPES[details["toObjectType"]]
    # What HubSpot does not define is a label of the portal's own.
    declared = ASSOCIATION_TYPES.get(type_id)
    described: Notification = {
        "fromObjectId": details["fromObjectId"],
        "toObjectId": details["toObjectId"],
        "associationRemoved": details["associationRemoved"],
        "isPrimaryAssociation": declared is not None and declared.primary,
    }
    if generic:
        return described | {
            "fromObjectTypeId": from_type.type_id,
            "toObjectTypeId": to_type.type_id,
            "associationTypeId": type_id,
            "associationCategory": declared.category if declared else "USER_DEFINED",
        }
    name = f"{from_type.singular}_to_{to_type.singular}".upper()
    return {"associationType": name, **described}
