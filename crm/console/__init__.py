"""The web console: server-rendered pages over the domains, for people at a browser.

``init_console`` puts it together. A page is a view here, a template beside it, and one line in
``_NAVIGATION`` if it is to be found; what pages have in common are the macros of ``ui.html``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from hashlib import blake2s
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, request, session
from flask_bootstrap import Bootstrap5
from flask_compress import Compress
from flask_wtf import CSRFProtect

from crm.accounts.sessions import BROWSER_LIFE
from crm.console import (
    accounts,
    contacts,
    extractions,
    integrations,
    overview,
    pipelines,
    settings,
    sync,
)
from crm.console.errors import register_errors
from crm.console.formats import register_formats
from crm.console.guards import authorize
from crm.console.headers import guard_page

_FILES = ("console.static", "bootstrap.static")
_COMPRESSED = ("text/css", "text/javascript", "image/svg+xml")
_KEPT = timedelta(days=30)
"""How long a browser need not ask for a file again: one that was changed has another address."""

_compress = Compress()
_csrf = CSRFProtect()


@dataclass(frozen=True)
class _Entry:
    """A line of the navigation."""

    blueprint: str
    label: str
    icon: str
    for_admins: bool = False

    @property
    def endpoint(self) -> str:
        return f"console.{self.blueprint}.show"


_PAGES = (accounts, overview, contacts, pipelines, integrations, extractions, sync, settings)
_NAVIGATION = (
    _Entry("overview", "Overview", "gauge"),
    _Entry("contacts", "Contacts", "people"),
    _Entry("pipelines", "Pipelines", "columns"),
    _Entry("integrations", "Integrations", "plug"),
    _Entry("extractions", "Extractions", "download", for_admins=True),
    _Entry("sync", "Sync", "sync", for_admins=True),
    _Entry("settings", "Settings", "gear", for_admins=True),
)


def init_console(app: Flask) -> None:
    """Give the app its pages."""
    given = app.extensions["crm_settings"]
    is_secure = given.is_production or given.public_url.startswith("https://")
    app.config.update(
        SECRET_KEY=given.secret_key,
        # The prefix has browsers refuse a cookie that another host or plain HTTP would set.
        SESSION_COOKIE_NAME="__Host-session" if is_secure else "session",
        SESSION_COOKIE_SECURE=is_secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=BROWSER_LIFE,
        SESSION_REFRESH_EACH_REQUEST=False,  # The sign-in that it names has its own end.
        # The console checks its own requests; the API takes no cookies and needs no check.
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,
        BOOTSTRAP_SERVE_LOCAL=True,
        # Never what is private: how well it compresses tells of what is in it (BREACH).
        COMPRESS_MIMETYPES=_COMPRESSED,
        COMPRESS_REGISTER=False,  # Else every answer of the API would be looked at.
    )
    for extension in (Bootstrap5(), _compress, _csrf):
        extension.init_app(app)
    register_formats(app)
    app.register_blueprint(_make_blueprint())
    for endpoint in _FILES:
        app.view_functions[endpoint] = _compressed(app.view_functions[endpoint])
    edition = _name_edition(app)

    @app.url_defaults
    def name_edition(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint in _FILES:
            values["v"] = edition


def _name_edition(app: Flask) -> str:
    """Another name whenever a file of the console, or Bootstrap's style sheet, is another."""
    digest = blake2s(digest_size=6)
    for blueprint, files in (("console", "*"), ("bootstrap", "bootstrap5/css/bootstrap.min.css")):
        for each in sorted(Path(str(app.blueprints[blueprint].static_folder)).glob(files)):
            digest.update(each.read_bytes())
    return digest.hexdigest()


def _make_blueprint() -> Blueprint:
    console = Blueprint(
        "console",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/console/static",
    )
    for page in _PAGES:
        console.register_blueprint(page.bp)
    console.before_request(_csrf.protect)
    console.before_request(authorize)
    console.after_request(_guard_answer)
    console.app_context_processor(_offer)
    register_errors(console)
    return console


def _compressed(view: Callable[..., Any]) -> Callable[..., Response]:
    """A view of files, kept by browsers; style sheets, scripts and drawings go compressed."""

    @wraps(view)
    def serve(**given: Any) -> Response:
        response: Response = current_app.make_response(view(**given))
        if response.direct_passthrough and response.mimetype in _COMPRESSED:
            # Into memory: compressed as a stream, or to a browser that went away, the file would
            # stay open.
            response.direct_passthrough = False
            response.make_sequence()
            response.close()
        if "v" in request.args:
            response.cache_control.no_cache = None
            response.cache_control.max_age = int(_KEPT.total_seconds())
        return _compress.after_request(response)

    return serve


def _guard_answer(response: Response) -> Response:
    if _is_renewal():
        # A notice that was rendered into it is read by nobody, and stays for the next page. Neither
        # may its cookie come after that of a form, which may hold a notice.
        session.modified = False
    return response if request.endpoint == "console.static" else guard_page(response)


def _is_renewal() -> bool:
    """Whether a script asks, for a part of a page, and not a person who opens it."""
    return "X-Renewal" in request.headers or "text/event-stream" in request.headers.get(
        "Accept", ""
    )


def _offer() -> dict[str, Any]:
    """What every template may use."""
    caller = g.get("caller") if isinstance(g.get("person"), str) else None
    return {
        "me": caller,
        "person": g.get("person"),
        "navigation": [
            each for each in _NAVIGATION if caller and (caller.is_admin or not each.for_admins)
        ],
        "here": ".".join((request.endpoint or "").split(".")[:2]),
    }
