"""The admin API under ``/_sandbox``: who may call, faults, clock, log, settings, reset.

A tool for whoever runs the sandbox on loopback: it asks for no token, is not counted and is
never struck by faults. HubSpot has nothing like it.
"""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import orjson
from flask import Blueprint, Response, request

from hubspot_sandbox.access_admin import AdminRoute, access_routes
from hubspot_sandbox.demo import fill_with_demo_data
from hubspot_sandbox.errors import invalid, missing_fields
from hubspot_sandbox.faults import FaultError
from hubspot_sandbox.object_types import get_object_type
from hubspot_sandbox.payload import (
    as_list,
    as_object,
    find_text,
    object_list,
    parse_object,
    text_field,
)
from hubspot_sandbox.schema import ObjectType, Pipeline, Stage
from hubspot_sandbox.serving_tools import serving_tools
from hubspot_sandbox.store import Sandbox, Settings
from hubspot_sandbox.webhook_tools import webhook_tools
from hubspot_sandbox.write_rules import read_write_rules

ADMIN_PREFIX = "/_sandbox"
_MAX_SETTING = 3_600_000


def admin_blueprint(sandbox: Sandbox, *, name: str) -> Blueprint:
    """Build the admin API for a sandbox."""
    admin = Blueprint(name, __name__, url_prefix=ADMIN_PREFIX)
    views = _Views(sandbox)
    routes: tuple[AdminRoute, ...] = (
        ("GET", "/health", views.read_health),
        ("GET", "/requests", views.list_requests),
        ("DELETE", "/requests", views.clear_requests),
        ("POST", "/reset", views.reset),
        ("GET", "/faults", views.list_faults),
        ("PUT", "/faults", views.replace_faults),
        ("DELETE", "/faults", views.clear_faults),
        ("GET", "/settings", views.read_settings),
        ("PUT", "/settings", views.change_settings),
        ("PUT", "/pipelines/<object_type>", views.replace_pipelines),
        ("PUT", "/rules/<object_type>", views.replace_write_rules),
        *serving_tools(sandbox),
        *access_routes(sandbox),
        *webhook_tools(sandbox),
    )
    for method, path, view in routes:
        admin.add_url_rule(path, view.__name__, _as_json(view), methods=[method])
    return admin


def _as_json(view: Callable[..., dict[str, Any]]) -> Callable[..., Response]:
    def serve(**path: str) -> Response:
        return Response(orjson.dumps(view(**path)), content_type="application/json")

    return serve


class _Views:
    """What the admin API does; every method returns the JSON to answer with."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def read_health(self) -> dict[str, Any]:
        return {"status": "ok"}

    def list_requests(self) -> dict[str, Any]:
        return self._sandbox.request_log.count()

    def clear_requests(self) -> dict[str, Any]:
        self._sandbox.request_log.clear()
        return self.list_requests()

    def reset(self) -> dict[str, Any]:
        body = _json() if request.get_data() else {}
        reset_sandbox(self._sandbox, demo=body.get("demo") is True)
        return self.read_health()

    def list_faults(self) -> dict[str, Any]:
        return {"faults": self._sandbox.faults.describe()}

    def replace_faults(self) -> dict[str, Any]:
        try:
            self._sandbox.faults.replace(as_list(_json().get("faults")))
        except FaultError as error:
            raise invalid(str(error)) from error
        return self.list_faults()

    def clear_faults(self) -> dict[str, Any]:
        self._sandbox.faults.replace([])
        return self.list_faults()

    def read_settings(self) -> dict[str, Any]:
        return asdict(self._sandbox.settings)

    def change_settings(self) -> dict[str, Any]:
        change_settings(self._sandbox.settings, _json())
        return self.read_settings()

    def replace_pipelines(self, object_type: str) -> dict[str, Any]:
        return replace_pipelines(self._sandbox, get_object_type(object_type), _json())

    def replace_write_rules(self, object_type: str) -> dict[str, Any]:
        return replace_write_rules(self._sandbox, get_object_type(object_type), _json())


def reset_sandbox(sandbox: Sandbox, *, demo: bool = False) -> None:
    """Make the sandbox new: no faults, no counts, no records but the demo data if asked for."""
    sandbox.reset()
    if demo:
        for portal in sandbox.portals.values():
            fill_with_demo_data(portal)


def change_settings(settings: Settings, changes: dict[str, Any]) -> None:
    """Set what is named; raise 400 and change nothing when a name or value is wrong."""
    kinds = {each.name: each.type for each in fields(Settings)}
    for name, value in changes.items():
        if name not in kinds:
            raise invalid(f"There is no setting {name}, only {sorted(kinds)}")
        if type(value) is not kinds[name] or not 0 <= value <= _MAX_SETTING:
            raise invalid(f"The setting {name} cannot be {value!r}")
    for name, value in changes.items():
        setattr(settings, name, value)


def replace_pipelines(
    sandbox: Sandbox, object_type: ObjectType, body: dict[str, Any]
) -> dict[str, Any]:
    """Give every portal other pipelines: ``{"results": [...]}`` in the shape HubSpot lists them."""
    given = [_read_pipeline(each, order) for order, each in enumerate(object_list(body, "results"))]
    if not given:
        raise missing_fields("results")
    for portal in sandbox.portals.values():
        with portal.lock, portal.undo_log.transaction():
            portal.put_pipelines(object_type, given)
    return {"results": [each.render() for each in given]}


def replace_write_rules(
    sandbox: Sandbox, object_type: ObjectType, body: dict[str, Any]
) -> dict[str, Any]:
    """Give every portal other rules for a type's writes, as `read_write_rules` has them."""
    for portal in sandbox.portals.values():
        with portal.lock, portal.undo_log.transaction():
            rules = read_write_rules(portal, object_type, body)
            portal.setup.put_write_rules(object_type, rules)
    return body


def _read_pipeline(shape: dict[str, Any], order: int) -> Pipeline:
    stages = tuple(
        Stage(
            id=text_field(each, "id"),
            label=text_field(each, "label"),
            metadata={
                key: str(value) for key, value in as_object(each.get("metadata", {})).items()
            },
            display_order=stage_order,
        )
        for stage_order, each in enumerate(object_list(shape, "stages"))
    )
    label = find_text(shape, "label") or text_field(shape, "id")
    return Pipeline(text_field(shape, "id"), label, stages, order)


def _json() -> dict[str, Any]:
    return parse_object(request.get_data())
