"""The sandbox's WSGI app: routes of both path families, the bearer check, errors as HubSpot's.

Views know nothing of Flask: they get a `Call` and give an `Answer`. Each runs with its portal
locked and in one transaction, so that a refusal leaves nothing behind.
"""

import logging
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from uuid import uuid4

import orjson
from flask import Blueprint, Flask, Response, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from crm.sandbox import (
    account,
    association_routes,
    batches,
    objects,
    persons,
    pipelines,
    properties,
    search,
)
from crm.sandbox.admin import admin_blueprint
from crm.sandbox.calls import Answer, Call, Route
from crm.sandbox.errors import HubSpotError, resource_not_found, unauthenticated
from crm.sandbox.events import Actor, app_as_actor, person_as_actor
from crm.sandbox.journal_routes import journal_blueprint
from crm.sandbox.object_types import get_object_type
from crm.sandbox.persons import make_persons_call
from crm.sandbox.store import Sandbox
from crm.sandbox.webhook_routes import webhooks_blueprint

MAX_BODY_BYTES: Final = 20 * 1024 * 1024
MAX_URI_LENGTH: Final = 16_000
CORRELATION_HEADER: Final = "x-hubspot-correlation-id"
CONTENT_TYPE: Final = "application/json;charset=utf-8"
ADMIN: Final = "admin"

# Where each area of the API is served: the legacy version and its prefix, the dated prefix.
AREAS: Final = {
    "objects": ("v3", "/crm/v3/objects", "/crm/objects/<dated:version>"),
    "record_associations": ("v4", "/crm/v4/objects", "/crm/objects/<dated:version>"),
    "associations": ("v4", "/crm/v4/associations", "/crm/associations/<dated:version>"),
    "pipelines": ("v3", "/crm/v3/pipelines", "/crm/pipelines/<dated:version>"),
    "properties": ("v3", "/crm/v3/properties", "/crm/properties/<dated:version>"),
    "owners": ("v3", "/crm/v3/owners", "/crm/owners/<dated:version>"),
    "account": ("v3", "/account-info/v3", "/account-info/<dated:version>"),
}
ROUTES: Final[tuple[Route, ...]] = (
    *objects.ROUTES,
    *batches.ROUTES,
    *search.ROUTES,
    *association_routes.ROUTES,
    *pipelines.ROUTES,
    *properties.ROUTES,
    *account.ROUTES,
)

BeforeRequest: TypeAlias = Callable[[Call], None]

_log = logging.getLogger(__name__)
_PATH_PART = re.compile(r"<(?:\w+:)?(\w+)>")


class DatedVersion(BaseConverter):
    """A date version of the API that exists; any other is a 404."""

    regex = "2025-09|2026-03|2026-09|2027-03-beta"


def create_app(sandbox: Sandbox, before_requests: Sequence[BeforeRequest] = ()) -> Flask:
    """Build the app around a sandbox's state.

    Each of ``before_requests`` sees an authenticated call before its view does, and refuses it
    by raising `HubSpotError`: the place for rate limits and scopes.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # HubSpot answers with and without a final slash, and never redirects.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    app.url_map.converters["dated"] = DatedVersion
    for route in ROUTES:
        _add_route(app, sandbox, route, before_requests)
    app.register_blueprint(_admin_blueprint(sandbox))
    app.register_blueprint(webhooks_blueprint(sandbox, _respond))
    app.register_blueprint(journal_blueprint(sandbox, _respond))
    _add_hooks(app, sandbox)
    app.register_error_handler(HubSpotError, _answer_refusal)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_failure)
    return app


def _add_route(
    app: Flask, sandbox: Sandbox, route: Route, before_requests: Sequence[BeforeRequest]
) -> None:
    legacy, legacy_prefix, dated_prefix = AREAS[route.area]

    def serve(version: str, **path: str) -> Response:
        call = _make_call(sandbox, version)
        for check in before_requests:
            check(call)
        return _respond(_run(route, call, path, app_as_actor(call.access.app_id)))

    name = f"{route.view.__module__}.{route.view.__name__}".rpartition("sandbox.")[2]
    endpoint = name.replace(".", ":")
    for prefix, family, defaults in (
        (legacy_prefix, "legacy", {"version": legacy}),
        (dated_prefix, "dated", None),
    ):
        app.add_url_rule(
            prefix + route.path,
            endpoint=f"{endpoint}:{family}",
            view_func=serve,
            methods=[route.method],
            defaults=defaults,
            provide_automatic_options=False,
        )


def _admin_blueprint(sandbox: Sandbox) -> Blueprint:
    """Build the admin API, with the changes that people make."""
    blueprint = admin_blueprint(sandbox, name=ADMIN)

    def serving(route: Route) -> Callable[..., Response]:
        def serve(portal_id: int, **path: str) -> Response:
            call, user_id = make_persons_call(sandbox, portal_id)
            return _respond(_run(route, call, path, person_as_actor(user_id)))

        return serve

    for route in persons.ROUTES:
        blueprint.add_url_rule(
            f"/portals/<int:portal_id>{route.path}",
            f"persons:{route.view.__name__}",
            serving(route),
            methods=[route.method],
        )
    return blueprint


def _run(route: Route, call: Call, path: dict[str, str], actor: Actor) -> Answer:
    """Run a view with its portal to itself; all of its changes stay, or none."""
    arguments: dict[str, Any] = {
        name: get_object_type(value) if name.endswith("_type") else value
        for name, value in path.items()
    }
    with call.portal.lock, call.portal.acting(actor), call.portal.journal.transaction():
        return route.view(call, **arguments)


def _make_call(sandbox: Sandbox, version: str) -> Call:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    access = sandbox.find_access(token.strip()) if scheme.lower() == "bearer" else None
    if access is None:
        raise unauthenticated()
    return Call(
        portal=sandbox.portals[access.portal_id],
        access=access,
        version=version,
        url=request.base_url,
        query=dict(request.args.lists()),
        body=request.get_data(cache=False),
        content_type=request.headers.get("Content-Type", ""),
    )


def _add_hooks(app: Flask, sandbox: Sandbox) -> None:
    @app.before_request
    def begin() -> None:
        g.correlation_id = str(uuid4())
        if request.blueprint != ADMIN:
            sandbox.counts.add(_route_name())
            if len(request.full_path) > MAX_URI_LENGTH:
                raise HubSpotError(414, "URI Too Long")

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers[CORRELATION_HEADER] = g.correlation_id
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
    return _respond(Answer({**error.body(), "correlationId": g.correlation_id}, error.status))


def _answer_http_error(error: HTTPException) -> Response:
    """Answer what the framework refused (unknown route, method, too large) in the envelope."""
    if error.code == HTTPStatus.NOT_FOUND:
        return _answer_refusal(resource_not_found())
    return _answer_refusal(HubSpotError(error.code or 500, error.name))


def _answer_failure(error: Exception) -> Response:
    _log.error("the sandbox failed", exc_info=error)
    return _answer_refusal(HubSpotError(500, "internal error"))
