"""What an app wants to be told, and where: its webhook settings and event subscriptions.

Source: HubSpot docs, webhooks guide. Subscriptions belong to an app, not to a portal; a change of
property is subscribed to name by name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from hubspot_sandbox import events
from hubspot_sandbox.clock import iso
from hubspot_sandbox.errors import HubSpotError, invalid
from hubspot_sandbox.object_types import OBJECT_TYPES
from hubspot_sandbox.schema import ObjectType

MAX_SUBSCRIPTIONS: Final = 1_000
DEFAULT_CONCURRENCY: Final = 10
_CONCURRENCY: Final = range(6, 101)
_MAX_URL_LENGTH: Final = 2_000
_GENERIC: Final = "object"

_KINDS: Final = (
    *(events.CREATION, events.DELETION, events.MERGE, events.RESTORE),
    *(events.PROPERTY_CHANGE, events.ASSOCIATION_CHANGE),
)
# HubSpot takes subscriptions to products and conversations too, which the sandbox has none of.
EVENT_TYPES: Final = frozenset(
    {f"{name}.{kind}" for name in ("company", "contact", "deal", "line_item") for kind in _KINDS}
    | {f"{name}.{kind}" for name in ("ticket", _GENERIC) for kind in _KINDS}
    | {f"product.{kind}" for kind in _KINDS if kind != events.ASSOCIATION_CHANGE}
    | {f"conversation.{kind}" for kind in ("newMessage", *_KINDS[:2], "propertyChange")}
    | {"contact.privacyDeletion", "conversation.privacyDeletion", "event.completed"}
)
NOT_SUBSCRIBABLE: Final = frozenset({"num_unique_conversion_events", "hs_lastmodifieddate"})


@dataclass(slots=True)
class Subscription:
    """One kind of event that an app hears of while it is active.

    ``property_name`` belongs to changes of properties, ``object_type_id`` to the generic
    ``object.*`` types.
    """

    id: int
    event_type: str
    property_name: str | None = None
    object_type_id: str | None = None
    active: bool = False
    created_at: int = 0
    updated_at: int = 0

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        """What makes it one and the same subscription."""
        return self.event_type, self.object_type_id, self.property_name

    @property
    def is_generic(self) -> bool:
        """Whether its payloads name the object type."""
        return self.event_type.startswith(f"{_GENERIC}.")

    def render(self) -> dict[str, Any]:
        """Return the subscription as HubSpot's JSON."""
        optional = {"propertyName": self.property_name, "objectTypeId": self.object_type_id}
        return {
            "id": str(self.id),
            "eventType": self.event_type,
            **{name: value for name, value in optional.items() if value is not None},
            "active": self.active,
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.updated_at),
        }


@dataclass(slots=True)
class Target:
    """Where an app's webhooks go, and how many requests may be under way at once."""

    url: str
    max_concurrent_requests: int = DEFAULT_CONCURRENCY
    created_at: int = 0
    updated_at: int = 0

    def render(self) -> dict[str, Any]:
        """Return the settings as HubSpot's JSON."""
        return {
            "targetUrl": self.url,
            "throttling": {
                "maxConcurrentRequests": self.max_concurrent_requests,
                "period": "SECONDLY",
            },
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.updated_at),
        }


@dataclass(slots=True)
class AppWebhooks:
    """One app's target and subscriptions; without a target all of them rest.

    ``changes`` counts them, for whoever keeps the state.
    """

    target: Target | None = None
    changes: int = 0
    _subscriptions: dict[int, Subscription] = field(default_factory=dict)
    _active: dict[tuple[str, str | None, str | None], Subscription] = field(default_factory=dict)
    _next_id: int = 1
    _lock: Lock = field(default_factory=Lock)

    @property
    def listens(self) -> bool:
        """Whether anything is sent at all."""
        return self.target is not None and bool(self._active)

    def put_target(self, url: str, concurrency: int, moment: int) -> Target:
        """Send everything to this URL; raise 400 for one that HubSpot would not call."""
        check_target_url(url)
        if concurrency not in _CONCURRENCY:
            raise invalid(f"maxConcurrentRequests must be greater than 5, got {concurrency}")
        since = self.target.created_at if self.target else moment
        self.target = Target(url, concurrency, since, moment)
        self.changes += 1
        return self.target

    def drop_target(self) -> None:
        """Send nothing any more; the subscriptions stay, and rest until there is a target."""
        self.target = None
        self.changes += 1

    def subscriptions(self) -> list[Subscription]:
        """Return all subscriptions, oldest first."""
        with self._lock:
            return list(self._subscriptions.values())

    def find(self, subscription_id: int) -> Subscription | None:
        """Return the subscription with that id, or None."""
        return self._subscriptions.get(subscription_id)

    def add(self, wanted: Subscription, moment: int) -> Subscription:
        """Add a checked subscription and give it its id; refuse it over the limit or twice."""
        with self._lock:
            self._admit(self._subscriptions, wanted, moment)
            self._index()
        return wanted

    def replace(self, wanted: Iterable[Subscription], moment: int) -> None:
        """Have these subscriptions and no others; when one is refused, all stays as it was."""
        with self._lock:
            admitted: dict[int, Subscription] = {}
            for each in wanted:
                self._admit(admitted, each, moment)
            self._subscriptions = admitted
            self._index()

    def activate(self, subscription: Subscription, active: bool, moment: int) -> None:
        """Let a subscription fire or rest."""
        with self._lock:
            subscription.active, subscription.updated_at = active, moment
            self._index()

    def drop(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        with self._lock:
            self._subscriptions.pop(subscription.id, None)
            self._index()

    def matching(self, object_type: ObjectType, event: events.Event) -> list[Subscription]:
        """Return the active subscriptions to an event: the type's own, and the generic one."""
        name = event.details.get("propertyName")
        keys = (
            (f"{object_type.singular}.{event.kind}", None, name),
            (f"{_GENERIC}.{event.kind}", object_type.type_id, name),
        )
        return [self._active[key] for key in keys if key in self._active]

    def dump(self) -> dict[str, Any]:
        """Return everything that the state file keeps."""
        return {
            "target": None if self.target is None else asdict(self.target),
            "subscriptions": [asdict(each) for each in self.subscriptions()],
            "next_id": self._next_id,
        }

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take back what `dump` gave."""
        self.target = Target(**dumped["target"]) if dumped["target"] else None
        loaded = [Subscription(**each) for each in dumped["subscriptions"]]
        self._subscriptions = {each.id: each for each in loaded}
        self._next_id = dumped["next_id"]
        self._index()

    def _admit(self, present: dict[int, Subscription], wanted: Subscription, moment: int) -> None:
        if len(present) >= MAX_SUBSCRIPTIONS:
            raise invalid(f"An app cannot have more than {MAX_SUBSCRIPTIONS} subscriptions")
        if any(each.key == wanted.key for each in present.values()):
            raise HubSpotError(409, "The subscription already exists", "CONFLICT")
        wanted.id, self._next_id = self._next_id, self._next_id + 1
        wanted.created_at = wanted.updated_at = moment
        present[wanted.id] = wanted

    def _index(self) -> None:
        """Make the look-up anew: threads that read the old one are not disturbed."""
        active = [each for each in self._subscriptions.values() if each.active]
        self._active = {each.key: each for each in active}
        self.changes += 1


def make_subscription(
    event_type: str,
    property_name: str | None = None,
    object_type_id: str | None = None,
    *,
    active: bool = False,
) -> Subscription:
    """Make a subscription without an id; raise HubSpot's 400 for one that it does not offer."""
    if event_type not in EVENT_TYPES:
        raise invalid(f"{event_type} is no event type that can be subscribed to")
    generic = event_type.startswith(f"{_GENERIC}.")
    if generic and object_type_id not in {each.type_id for each in OBJECT_TYPES.values()}:
        raise invalid(f"{event_type} needs the objectTypeId of a known object type")
    about_property = event_type.endswith(f".{events.PROPERTY_CHANGE}")
    if about_property and not property_name:
        raise invalid(f"{event_type} needs a propertyName")
    if property_name in NOT_SUBSCRIBABLE:
        raise invalid(f"Changes of {property_name} cannot be subscribed to")
    return Subscription(
        id=0,
        event_type=event_type,
        property_name=property_name if about_property else None,
        object_type_id=object_type_id if generic else None,
        active=active,
    )


def every_subscription() -> list[Subscription]:
    """Return active subscriptions to every event of every type, with each stock property.

    As in HubSpot, a property that is made later needs a subscription of its own.
    """
    whole = [
        f"{each.singular}.{kind}"
        for each in OBJECT_TYPES.values()
        for kind in (*_KINDS, events.PRIVACY_DELETION)
        if kind != events.PROPERTY_CHANGE
    ]
    wanted = [make_subscription(each, active=True) for each in whole if each in EVENT_TYPES]
    wanted += [
        make_subscription(event_type, declared.name, active=True)
        for each in OBJECT_TYPES.values()
        for event_type in [f"{each.singular}.{events.PROPERTY_CHANGE}"]
        for declared in each.properties
        if event_type in EVENT_TYPES and declared.name not in NOT_SUBSCRIBABLE
    ]
    return wanted


def check_target_url(url: str) -> None:
    """Refuse a URL that cannot be a target.

    HubSpot calls https alone. The sandbox also calls http on this machine, and names without a
    dot, which are those of containers beside it.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise invalid(f"The targetUrl is not valid: {error}") from error
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _MAX_URL_LENGTH
    if not plain or not host or parts.username or parts.password or parts.fragment:
        raise invalid("The targetUrl is not valid")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_nearby(host)):
        raise invalid("The targetUrl must use https")


def _is_nearby(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return "." not in host
