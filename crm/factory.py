"""The application factory: the one module that knows all others, and puts them together."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
import structlog
from flask import Flask, Request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.datastructures import ImmutableMultiDict, MultiDict
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.utils import cached_property

import crm.tasks  # noqa: F401 - registers the tasks with the queue
from crm import models  # noqa: F401 - registers the tables
from crm.admission import init_admission
from crm.api import (
    auth,
    contacts,
    customers,
    dev_tokens,
    guards,
    integrations,
    limits,
    operations,
    pipelines,
    reading,
    rejections,
    scans,
    webhooks,
)
from crm.api.blueprints import SECURITY_SCHEMES
from crm.api.cors import init_cors
from crm.api.email_paths import EmailPathConverter, EmailPaths, EmailSegmentConverter
from crm.api.errors import register_errors
from crm.api.records import record_blueprint
from crm.cli import register_commands
from crm.config import PROJECT, Settings, load_settings
from crm.console import init_console
from crm.console.guards import identify as identify_person
from crm.db import READS, db
from crm.errors import ConfigError
from crm.extensions import api, jwt, migrate
from crm.hubspot.versions import sunset_warning
from crm.logs import configure_logs, log_requests
from crm.metrics import count_requests
from crm.object_types import OBJECT_TYPES
from crm.outages import CONNECT, limit_waiting
from crm.version import VERSION

log = structlog.get_logger(__name__)

_LARGEST_BODY = 1024 * 1024
_OPEN_TO_ALL = (
    *("api-docs.openapi_json", "swagger_ui.show"),
    *("static", "console.static", "bootstrap.static", "integrations.static"),
)


class _Sessions(SecureCookieSessionInterface):
    """Those of the console; a request without its cookie does not pay for them."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Read the cookie, if there is one."""
        if "HTTP_COOKIE" in request.environ and self.get_cookie_name(app) in request.cookies:
            return super().open_session(app, request)
        return self.session_class()


class _Request(Request):
    @cached_property
    def args(self) -> MultiDict[str, str]:
        """The parameters of the query; an empty one counts as not given, everywhere."""
        return ImmutableMultiDict(pair for pair in super().args.items(multi=True) if pair[1])


class _Service(Flask):
    session_interface = _Sessions()
    request_class = _Request

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: none is a coroutine, and Flask would look twenty times a request."""
        return func


def create_app(
    settings: Settings | None = None, *, log_file: str = "", open_access: bool = False
) -> Flask:
    """Put the service together.

    Args:
        settings: the process's own when left out.
        log_file: keeps all lines; then only warnings and errors go to standard error.
        open_access: whether people at this machine may try it out without a credential, which
            ``run.py`` alone says, and no setting can.

    Raises:
        ConfigError: the settings are not usable; one line that says which.
    """
    settings = settings or _load_settings()
    if open_access and (settings.is_production or settings.open_access is False):
        raise ConfigError("OPEN_ACCESS must be off here; start the service without it")
    configure_logs(level=settings.log_level, as_json=settings.is_production, file=log_file)
    app = _Service("crm")
    app.config.update(_flask_config(settings))
    app.extensions["crm_settings"] = settings
    app.extensions["crm_open_access"] = open_access
    app.url_map.converters.update(
        email_segment=EmailSegmentConverter, email_path=EmailPathConverter
    )
    app.wsgi_app = EmailPaths(app.wsgi_app)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    limit_waiting()
    _register(app)
    today = datetime.now(UTC).date()
    for warning in (*settings.warnings(), sunset_warning(settings.hubspot_api_version, today)):
        if warning:
            log.warning(warning)
    if settings.open_access and not open_access and not _is_command():
        log.warning("OPEN_ACCESS=1 has no effect here: only run.py can let people in")
    return app


def _is_command() -> bool:
    return click.get_current_context(silent=True) is not None


def _load_settings() -> Settings:
    try:
        return load_settings()
    except ConfigError as error:
        if not _is_command():
            raise
        # A flask command says it in one line.
        raise click.ClickException(error.message) from error


def _register(app: Flask) -> None:
    log_requests(app)
    count_requests(app)
    init_cors(app)
    init_admission(app)
    # The order matters: an identity first, since it has limits of its own; then the limits; and
    # only then what costs more.
    app.before_request(guards.identify)
    app.before_request(identify_person)
    limits.init_limits(app)
    app.before_request(guards.authorize)
    db.init_app(app)
    migrate.init_app(app, db, directory=str(PROJECT / "migrations"))
    jwt.init_app(app)
    api.init_app(app)
    register_errors(app)
    init_console(app)
    for module in (auth, contacts, customers, pipelines, webhooks, operations):
        api.register_blueprint(module.bp)
    for module in (rejections, scans, integrations, dev_tokens):
        api.register_blueprint(module.bp)
    for blueprint in (customers.root, scans.root, *reading.blueprints):
        api.register_blueprint(blueprint)
    for object_type in OBJECT_TYPES.values():
        api.register_blueprint(record_blueprint(object_type))
    # Without the online validator, the only outside host that the page would ask.
    swagger_ui = get_swaggerui_blueprint("/docs", "/openapi.json", {"validatorUrl": "none"})
    app.register_blueprint(swagger_ui)
    for endpoint in _OPEN_TO_ALL:
        app.view_functions[endpoint] = guards.open_to_all(app.view_functions[endpoint])
    register_commands(app)


def _flask_config(settings: Settings) -> dict[str, Any]:
    return {
        "MAX_CONTENT_LENGTH": _LARGEST_BODY,
        "SQLALCHEMY_DATABASE_URI": settings.sqlalchemy_url,
        "SQLALCHEMY_ENGINE_OPTIONS": {
            "pool_size": 10,
            "max_overflow": 10,
            # A restarted Postgres must not cost anyone an error.
            "pool_pre_ping": True,
            # What people entrust to us stays out of the log when a statement fails.
            "hide_parameters": True,
            "pool_timeout": CONNECT,
        },
        "SQLALCHEMY_BINDS": {
            READS: {
                "url": settings.sqlalchemy_url,
                "pool_size": 10,
                "pool_timeout": CONNECT,
                "isolation_level": "AUTOCOMMIT",
                # Nothing to undo after a read.
                "pool_reset_on_return": None,
                "connect_args": {
                    # Else Postgres would plan a prepared statement again for each set of values.
                    "options": "-c plan_cache_mode=force_generic_plan",
                },
            }
        },
        "JWT_SECRET_KEY": settings.jwt_secret_key,
        "RATELIMIT_STORAGE_URI": settings.redis_url or "memory://",
        "RATELIMIT_HEADERS_ENABLED": True,
        # Redis being down must not stop the service; each process then counts by itself.
        "RATELIMIT_IN_MEMORY_FALLBACK_ENABLED": bool(settings.redis_url),
        "API_TITLE": "CRM middleware",
        "API_VERSION": VERSION,
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
        "OPENAPI_JSON_PATH": "openapi.json",
        "API_SPEC_OPTIONS": {"components": {"securitySchemes": SECURITY_SCHEMES}},
    }
