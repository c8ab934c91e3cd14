"""The admin API's part for webhooks: a target in one call, disorder, and what was delivered."""

from dataclasses import asdict
from typing import Any

from flask import request

from hubspot_sandbox.access import DEFAULT_APP
from hubspot_sandbox.access_admin import AdminRoute
from hubspot_sandbox.errors import invalid, resource_not_found
from hubspot_sandbox.payload import json_object, object_list
from hubspot_sandbox.store import Sandbox
from hubspot_sandbox.subscriptions import DEFAULT_CONCURRENCY, check_target_url, every_subscription
from hubspot_sandbox.webhook_routes import read_subscription


def webhook_tools(sandbox: Sandbox) -> tuple[AdminRoute, ...]:
    """Return the tools as method, path under the admin prefix, and view."""
    views = _Views(sandbox)
    return (
        ("GET", "/webhooks", views.read_webhooks),
        ("PUT", "/webhooks", views.replace_webhooks),
        ("GET", "/deliveries", views.list_deliveries),
        ("DELETE", "/deliveries", views.clear_deliveries),
        ("POST", "/deliveries/flush", views.flush_deliveries),
        ("GET", "/deliveries/settings", views.read_delivery_settings),
        ("PUT", "/deliveries/settings", views.change_delivery_settings),
    )


def set_webhooks(
    sandbox: Sandbox,
    target_url: str | None,
    subscriptions: Any = "all",
    app_id: int = DEFAULT_APP.id,
) -> None:
    """Give an app another target and other subscriptions, all active; None for no webhooks.

    ``subscriptions`` is ``"all"`` or a list of HubSpot's subscription objects. Raises HubSpot's
    400 for what it would not accept, and 404 for an unknown app; then nothing has changed.
    """
    if app_id not in sandbox.apps:
        raise resource_not_found()
    webhooks, now = sandbox.webhooks.of_app(app_id), sandbox.clock.now_ms()
    if target_url is None:
        webhooks.replace([], now)
        webhooks.drop_target()
        return
    check_target_url(target_url)
    if subscriptions == "all":
        wanted = every_subscription()
    else:
        items = object_list({"subscriptions": subscriptions}, "subscriptions")
        wanted = [read_subscription({**each, "active": True}) for each in items]
    webhooks.replace(wanted, now)
    webhooks.put_target(target_url, DEFAULT_CONCURRENCY, now)


class _Views:
    """What the tools do; every method returns the JSON to answer with."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._deliveries = sandbox.webhooks.deliveries

    def read_webhooks(self) -> dict[str, Any]:
        return {
            "results": [
                {
                    "appId": app_id,
                    "targetUrl": webhooks.target.url if webhooks.target else None,
                    "subscriptions": [each.render() for each in webhooks.subscriptions()],
                }
                for app_id in self._sandbox.apps
                for webhooks in [self._sandbox.webhooks.of_app(app_id)]
            ]
        }

    def replace_webhooks(self) -> dict[str, Any]:
        body = json_object(request.get_data())
        target_url, app_id = body.get("targetUrl"), body.get("appId", DEFAULT_APP.id)
        if target_url is not None and not isinstance(target_url, str):
            raise invalid("The targetUrl must be text, or null for no webhooks")
        if not isinstance(app_id, int):
            raise invalid("The appId must be a number")
        set_webhooks(self._sandbox, target_url, body.get("subscriptions", "all"), app_id)
        return self.read_webhooks()

    def list_deliveries(self) -> dict[str, Any]:
        return self._deliveries.report()

    def clear_deliveries(self) -> dict[str, Any]:
        self._deliveries.clear()
        return self.list_deliveries()

    def flush_deliveries(self) -> dict[str, Any]:
        return self._deliveries.flush()

    def read_delivery_settings(self) -> dict[str, Any]:
        return asdict(self._deliveries.settings)

    def change_delivery_settings(self) -> dict[str, Any]:
        self._deliveries.configure(json_object(request.get_data()))
        return self.read_delivery_settings()
