"""The webhooks management API: where an app wants its webhooks, and which of them.

Source: HubSpot docs, webhooks guide. It belongs to the app's developer, not to a portal: it asks
for the developer API key as ``hapikey`` instead of a bearer token.
"""

import hmac
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from flask import Blueprint, Response, request

from hubspot_sandbox.calls import Answer
from hubspot_sandbox.clock import iso
from hubspot_sandbox.errors import HubSpotError, invalid_json, resource_not_found, unauthenticated
from hubspot_sandbox.payload import (
    JSONObject,
    as_object,
    batch_inputs,
    find_text,
    json_object,
    text_field,
    whole_number,
)
from hubspot_sandbox.store import Sandbox
from hubspot_sandbox.subscriptions import (
    DEFAULT_CONCURRENCY,
    MAX_SUBSCRIPTIONS,
    AppWebhooks,
    Subscription,
    make_subscription,
)

DEVELOPER_API_KEY: Final = "7d5b0f7e-5a4d-4b0c-8c0d-0d5e60b0c0de"
# The prefix differs by version. Source: HubSpot's published specifications.
_PREFIXES: Final = (
    *("/webhooks/v3", "/webhooks/2026-03"),
    *(f"/app-webhooks/{version}" for version in ("2025-09", "2026-09", "2027-03-beta")),
)

View: TypeAlias = Callable[..., Answer]
Respond: TypeAlias = Callable[[Answer], Response]


def webhooks_blueprint(sandbox: Sandbox, respond: Respond) -> Blueprint:
    """Build the management API for a sandbox; ``respond`` writes its answers."""
    blueprint = Blueprint("webhooks", __name__)
    views = _Views(sandbox)

    def serving(view: View) -> Callable[..., Response]:
        def serve(app_id: int, **path: str) -> Response:
            key = request.args.get("hapikey", "").encode()
            if not hmac.compare_digest(key, DEVELOPER_API_KEY.encode()):
                raise unauthenticated()
            if app_id not in sandbox.apps:
                raise resource_not_found()
            return respond(view(sandbox.webhooks.of_app(app_id), **path))

        return serve

    for method, path, view in (
        ("GET", "settings", views.read_settings),
        ("PUT", "settings", views.change_settings),
        ("DELETE", "settings", views.clear_settings),
        ("GET", "subscriptions", views.list_subscriptions),
        ("POST", "subscriptions", views.create_subscription),
        ("GET", "subscriptions/<subscription_id>", views.read_subscription),
        ("PATCH", "subscriptions/<subscription_id>", views.update_subscription),
        ("DELETE", "subscriptions/<subscription_id>", views.delete_subscription),
        ("POST", "subscriptions/batch/update", views.batch_update),
    ):
        for prefix in _PREFIXES:
            blueprint.add_url_rule(
                f"{prefix}/<int:app_id>/{path}",
                f"{view.__name__}:{prefix.rpartition('/')[2]}",
                serving(view),
                methods=[method],
                provide_automatic_options=False,
            )
    return blueprint


class _Views:
    """What the management API does for one app."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._clock = sandbox.clock

    def read_settings(self, webhooks: AppWebhooks) -> Answer:
        if webhooks.target is None:
            raise resource_not_found()
        return Answer(webhooks.target.render())

    def change_settings(self, webhooks: AppWebhooks) -> Answer:
        body = _json()
        throttling = as_object(body.get("throttling", {}))
        concurrency = find_text(throttling, "maxConcurrentRequests") or str(DEFAULT_CONCURRENCY)
        target = webhooks.put_target(
            text_field(body, "targetUrl"), whole_number(concurrency) or 0, self._clock.now_ms()
        )
        return Answer(target.render())

    def clear_settings(self, webhooks: AppWebhooks) -> Answer:
        webhooks.drop_target()
        return Answer(status=204)

    def list_subscriptions(self, webhooks: AppWebhooks) -> Answer:
        return Answer({"results": [each.render() for each in webhooks.subscriptions()]})

    def create_subscription(self, webhooks: AppWebhooks) -> Answer:
        made = webhooks.add(read_subscription(_json()), self._clock.now_ms())
        return Answer(made.render(), 201)

    def read_subscription(self, webhooks: AppWebhooks, subscription_id: str) -> Answer:
        return Answer(_get(webhooks, subscription_id).render())

    def update_subscription(self, webhooks: AppWebhooks, subscription_id: str) -> Answer:
        found, active = _get(webhooks, subscription_id), _active(_json())
        webhooks.activate(found, active, self._clock.now_ms())
        return Answer(found.render())

    def delete_subscription(self, webhooks: AppWebhooks, subscription_id: str) -> Answer:
        webhooks.drop(_get(webhooks, subscription_id))
        return Answer(status=204)

    def batch_update(self, webhooks: AppWebhooks) -> Answer:
        inputs = [
            (text_field(each, "id"), _active(each))
            for each in batch_inputs(_json(), MAX_SUBSCRIPTIONS)
        ]
        now = self._clock.now_ms()
        results, errors = [], []
        for subscription_id, active in inputs:
            found = webhooks.find(whole_number(subscription_id) or 0)
            if found is None:
                errors.append(_unknown_subscription(subscription_id))
                continue
            webhooks.activate(found, active, now)
            results.append(found.render())
        payload: dict[str, Any] = {
            "status": "COMPLETE",
            "results": results,
            "startedAt": iso(now),
            "completedAt": iso(now),
        }
        if errors:
            payload |= {"numErrors": len(errors), "errors": errors}
        return Answer(payload, 207 if errors else 200)


def read_subscription(item: JSONObject) -> Subscription:
    """Make a subscription of its JSON; it rests unless it says ``active``."""
    return make_subscription(
        text_field(item, "eventType"),
        find_text(item, "propertyName"),
        find_text(item, "objectTypeId"),
        active=_active(item) if "active" in item else False,
    )


def _get(webhooks: AppWebhooks, subscription_id: str) -> Subscription:
    found = webhooks.find(whole_number(subscription_id) or 0)
    if found is None:
        raise resource_not_found()
    return found


def _active(item: JSONObject) -> bool:
    value = item.get("active")
    if not isinstance(value, bool):
        raise invalid_json("Cannot deserialize value of type `boolean`")
    return value


def _unknown_subscription(subscription_id: str) -> dict[str, Any]:
    message = (
        f"Failed to find subscriptions by id `{subscription_id}`. "
        "Try again using a different subscriptionId."
    )
    return HubSpotError(
        404,
        message,
        "SUBSCRIPTION_ID_NOT_FOUND",
        sub_category="SubscriptionErrors.SUBSCRIPTION_IDS_NOT_FOUND",
        context={"subscriptionIds": [subscription_id]},
    ).batch_item()


def _json() -> JSONObject:
    if not request.is_json:
        raise HubSpotError(415, "HTTP 415 Unsupported Media Type")
    return json_object(request.get_data())
