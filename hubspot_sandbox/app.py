"""The sandbox's WSGI app: routes of both path families, the bearer check, errors as HubSpot's.

Views know nothing of Flask: they get a `Call` and give an `Answer`. Each runs with its portal
locked and in one transaction, so that a refusal leaves nothing behind.
"""

import logging
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from flask import Blueprint, Flask, Response, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from hubspot_sandbox import (
    account,
    association_routes,
    associations_v3,
    batches,
    labels,
    list_members,
    lists,
    merges,
    objects,
    pipeline_writes,
    pipelines,
    properties,
    property_groups,
    search,
    user_actions,
)
from hubspot_sandbox.admin import admin_blueprint
from hubspot_sandbox.airtable import airtable_blueprint
from hubspot_sandbox.airtable_oauth import airtable_oauth_blueprint
from hubspot_sandbox.calls import Answer, Call, Route
from hubspot_sandbox.errors import CONTENT_TYPE, HubSpotError, resource_not_found, unauthenticated
from hubspot_sandbox.events import Actor, app_as_actor, user_as_actor
from hubspot_sandbox.journal_routes import journal_blueprint
from hubspot_sandbox.limits import find_kind
from hubspot_sandbox.notion import notion_blueprint
from hubspot_sandbox.notion_oauth import notion_oauth_blueprint
from hubspot_sandbox.oauth import VERSIONS as OAUTH_VERSIONS
from hubspot_sandbox.oauth import oauth_blueprint
from hubspot_sandbox.object_types import get_object_type
from hubspot_sandbox.request_log import CORRELATION_HEADER, EXCHANGE, Exchange
from hubspot_sandbox.schema import ObjectType
from hubspot_sandbox.scopes import RULES, check_scopes, find_action
from hubspot_sandbox.store import Sandbox
from hubspot_sandbox.user_actions import make_user_call
from hubspot_sandbox.webhook_routes import webhooks_blueprint

MAX_BODY_BYTES: Final = 20 * 1024 * 1024
MAX_URI_LENGTH: Final = 16_000
ADMIN: Final = "admin"

# Where each area of the API is served: the legacy version and its prefix, the dated prefix. What
# v4 replaced has none of the latter.
AREAS: Final = {
    "objects": ("v3", "/crm/v3/objects", "/crm/objects/<dated:version>"),
    "record_associations": ("v4", "/crm/v4/objects", "/crm/objects/<dated:version>"),
    "associations": ("v4", "/crm/v4/associations", "/crm/associations/<dated:version>"),
    "record_associations_v3": ("v3", "/crm/v3/objects", None),
    "associations_v3": ("v3", "/crm/v3/associations", None),
    "pipelines": ("v3", "/crm/v3/pipelines", "/crm/pipelines/<dated:version>"),
    "properties": ("v3", "/crm/v3/properties", "/crm/properties/<dated:version>"),
    "lists": ("v3", "/crm/v3/lists", "/crm/lists/<dated:version>"),
    "owners": ("v3", "/crm/v3/owners", "/crm/owners/<dated:version>"),
    "account": ("v3", "/account-info/v3", "/account-info/<dated:version>"),
    "installs": ("v3", "/appinstalls/v3", "/appinstalls/<dated:version>"),
}
ROUTES: Final[tuple[Route, ...]] = (
    *objects.ROUTES,
    *batches.ROUTES,
    *merges.ROUTES,
    *search.ROUTES,
    *association_routes.ROUTES,
    *associations_v3.ROUTES,
    *labels.ROUTES,
    *pipelines.ROUTES,
    *pipeline_writes.ROUTES,
    *properties.ROUTES,
    *property_groups.ROUTES,
    *lists.ROUTES,
    *list_members.ROUTES,
    *account.ROUTES,
)

_log = logging.getLogger(__name__)
_PATH_PART = re.compile(r"<(?:\w+:)?(\w+)>")


class DatedVersion(BaseConverter):
    """A date version of the API that exists; any other is a 404."""

    regex = "2025-09|2026-03|2026-09|2027-03-beta"


class OAuthVersion(BaseConverter):
    """A version of the OAuth API that exists."""

    regex = "|".join(OAUTH_VERSIONS)


class NewOAuthVersion(BaseConverter):
    """A version of the OAuth API that keeps tokens out of addresses."""

    regex = "|".join(OAUTH_VERSIONS[1:])


def create_app(sandbox: Sandbox) -> Flask:
    """Build the app around a sandbox's state."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # HubSpot answers with and without a final slash, and never redirects.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    app.url_map.converters["dated"] = DatedVersion
    app.url_map.converters |= {"oauth": OAuthVersion, "new_oauth": NewOAuthVersion}
    for route in ROUTES:
        _add_route(app, sandbox, route)
    app.register_blueprint(oauth_blueprint(sandbox))
    app.register_blueprint(_admin_blueprint(sandbox))
    app.register_blueprint(webhooks_blueprint(sandbox, _respond))
    app.register_blueprint(journal_blueprint(sandbox, _respond))
    app.register_blueprint(airtable_blueprint(sandbox.airtable))
    app.register_blueprint(airtable_oauth_blueprint(sandbox.airtable))
    app.register_blueprint(notion_blueprint(sandbox.notion))
    app.register_blueprint(notion_oauth_blueprint(sandbox.notion))
    _add_hooks(app)
    app.register_error_handler(HubSpotError, _answer_refusal)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_failure)
    return app


def _add_route(app: Flask, sandbox: Sandbox, route: Route) -> None:
    legacy, legacy_prefix, dated_prefix = AREAS[route.area]
    kind, rule = find_kind(route.area, route.path), RULES[route.area]
    action = find_action(route.method, route.path)

    def serve(version: str, **path: str) -> Response:
        call = _make_call(sandbox, version)
        g.limit_headers = call.portal.limits.spend(call.access, kind)
        arguments = _read_path(path)
        types = [each.name for each in arguments.values() if isinstance(each, ObjectType)]
        check_scopes(call.access, rule(action, types))
        return _respond(_run(route, call, arguments, app_as_actor(call.access.app_id)))

    name = f"{route.view.__module__}.{route.view.__name__}".rpartition("sandbox.")[2]
    endpoint = name.replace(".", ":")
    for prefix, family, defaults in (
        (legacy_prefix, "legacy", {"version": legacy}),
        (dated_prefix, "dated", None),
    ):
        if prefix is None:
            continue
        app.add_url_rule(
            prefix + route.path,
            endpoint=f"{endpoint}:{family}",
            view_func=serve,
            methods=[route.method],
            defaults=defaults,
            provide_automatic_options=False,
        )


def _read_path(path: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: get_object_type(value) if name.endswith("_type") else value
        for name, value in path.items()
    }


def _admin_blueprint(sandbox: Sandbox) -> Blueprint:
    """Build the admin API, with the changes that people make."""
    blueprint = admin_blueprint(sandbox, name=ADMIN)

    def serving(route: Route) -> Callable[..., Response]:
        def serve(portal_id: int, **path: str) -> Response:
            call, user_id = make_user_call(sandbox, portal_id)
            return _respond(_run(route, call, _read_path(path), user_as_actor(user_id)))

        return serve

    for route in user_actions.ROUTES:
        blueprint.add_url_rule(
            f"/portals/<int:portal_id>{route.path}",
            f"persons:{route.view.__name__}",
            serving(route),
            methods=[route.method],
        )
    return blueprint


def _run(route: Route, call: Call, arguments: dict[str, Any], actor: Actor) -> Answer:
    """Run a view with its portal to itself; all of its changes stay, or none."""
    with call.portal.lock, call.portal.acting(actor), call.portal.undo_log.transaction():
        return route.view(call, **arguments)


def _make_call(sandbox: Sandbox, version: str) -> Call:
    access = sandbox.admit(request.headers.get("Authorization", ""))
    portal = sandbox.portals.get(access.portal_id)
    if portal is None:
        raise unauthenticated()
    return Call(
        portal=portal,
        access=access,
        registry=sandbox.registry,
        version=version,
        url=request.base_url,
        query=dict(request.args.lists()),
        body=request.get_data(cache=False),
        content_type=request.headers.get("Content-Type", ""),
    )


def _add_hooks(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        exchange: Exchange = request.environ[EXCHANGE]
        g.correlation_id = exchange.correlation_id
        exchange.route = _route_name()
        if request.blueprint != ADMIN and len(request.full_path) > MAX_URI_LENGTH:
            raise HubSpotError(414, "URI Too Long")

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers[CORRELATION_HEADER] = g.correlation_id
        response.headers.update(g.get("limit_headers", {}))
        return response


def _route_name() -> str:
    """Return the method and the route, with its version and object types but without ids."""
    if request.url_rule is None:
        return f"{request.method} (no such route)"
    path = request.view_args or {}

    def fill(part: re.Match[str]) -> str:
        name = part[1]
        return str(path[name]) if name == "version" or name.endswith("_type") else f"{{{name}}}"

    return f"{request.method} {_PATH_PART.sub(fill, request.url_rule.rule)}"


def _respond(answer: Answer) -> Response:
    body = b"" if answer.payload is None else orjson.dumps(answer.payload)
    response = Response(body, answer.status, dict(answer.headers), content_type=CONTENT_TYPE)
    if answer.payload is None:
        del response.headers["Content-Type"]
    return response


def _answer_refusal(error: HubSpotError) -> Response:
    body = {**error.body(), "correlationId": g.correlation_id}
    return _respond(Answer(body, error.status, error.headers))


def _answer_http_error(error: HTTPException) -> Response:
    """Answer what the framework refused (unknown route, method, too large) in the envelope."""
    if error.code == HTTPStatus.NOT_FOUND:
        return _answer_refusal(resource_not_found())
    return _answer_refusal(HubSpotError(error.code or 500, error.name))


def _answer_failure(error: Exception) -> Response:
    _log.error("the sandbox failed", exc_info=error)
    return _answer_refusal(HubSpotError(500, "internal error"))
