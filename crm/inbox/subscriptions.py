"""Say which events an app must ask HubSpot for, so that the mirror stays true."""

from collections.abc import Iterator
from typing import Any

from flask import current_app

from crm.config import Settings
from crm.errors import ConfigError
from crm.inbox.events import (
    ASSOCIATION_CHANGE,
    CREATION,
    DELETION,
    MERGE,
    PRIVACY_DELETION,
    PROPERTY_CHANGE,
    RESTORE,
)
from crm.object_types import (
    ASSOCIATIONS,
    CONTACTS,
    LINE_ITEMS,
    MERGED_IDS,
    OBJECT_TYPES,
    ObjectType,
)
from crm.portals.portals import get_default_portal_id
from crm.portals.property_schemas import list_mirrored

MOST_SUBSCRIPTIONS = 1000
"""Of an app. Source: HubSpot docs, webhooks guide."""
_REQUESTS_AT_ONCE = 10

# HubSpot takes no subscription to the first (docs: webhooks guide), and tells in other events of
# what sets the others.
_SILENT = {"hs_lastmodifieddate", "lastmodifieddate", "createdate", MERGED_IDS}


def make_manifest() -> dict[str, Any]:
    """The content of an app's ``src/app/webhooks/webhooks-hsmeta.json``.

    Source of the format: HubSpot docs, "Configure a webhook subscription": ``crmObjects`` holds
    subscriptions in the generic form, by object type; ``hubEvents`` what has only the other form.

    Raises:
        ConfigError: nobody said how HubSpot reaches us, or an app cannot have so many.
    """
    settings: Settings = current_app.extensions["crm_settings"]
    if not settings.webhook_url:
        raise ConfigError("PUBLIC_URL is not set; HubSpot would not know where to call us")
    wanted = [each for object_type in OBJECT_TYPES.values() for each in _wanted(object_type)]
    privacy = {"subscriptionType": f"{CONTACTS.singular}.{PRIVACY_DELETION}", "active": True}
    if len(wanted) >= MOST_SUBSCRIPTIONS:
        raise ConfigError(
            f"{len(wanted) + 1} subscriptions are wanted, and HubSpot gives an app at most"
            f" {MOST_SUBSCRIPTIONS}; mirror fewer properties"
        )
    return {
        "uid": "webhooks",
        "type": "webhooks",
        "config": {
            "settings": {
                "targetUrl": settings.webhook_url,
                "maxConcurrentRequests": _REQUESTS_AT_ONCE,
            },
            "subscriptions": {"crmObjects": wanted, "hubEvents": [privacy]},
        },
    }


def _wanted(object_type: ObjectType) -> Iterator[dict[str, Any]]:
    kinds = [CREATION, DELETION, RESTORE]
    # HubSpot merges no line items. Source: its API specification.
    kinds += [] if object_type is LINE_ITEMS else [MERGE]
    kinds += [ASSOCIATION_CHANGE] if _is_associated(object_type) else []
    for kind in kinds:
        yield _subscription(object_type, kind)
    for name in list_mirrored(get_default_portal_id(), object_type):
        if name not in _SILENT:
            yield _subscription(object_type, PROPERTY_CHANGE) | {"propertyName": name}


def _subscription(object_type: ObjectType, kind: str) -> dict[str, Any]:
    return {
        "subscriptionType": f"object.{kind}",
        "objectType": object_type.singular,
        "active": True,
    }


def _is_associated(object_type: ObjectType) -> bool:
    return any(object_type in (each.from_type, each.to_type) for each in ASSOCIATIONS.values())
