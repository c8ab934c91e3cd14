"""A real browser in front of the real service."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import BaseWSGIServer, make_server

from crm.accounts import users
from tests.api.conftest import counted_statements, make_contact, make_graph
from tests.browser import CHROMIUM, DESKTOP, MISSING, PHONE, started_browser
from tests.conftest import PASSWORD, leave_out

__all__ = ["counted_statements", "make_contact", "make_graph"]

LONGEST_MS = 20_000
expect.set_options(timeout=LONGEST_MS)

SERIOUS_FAULTS = """
    axe.run({resultTypes: ["violations"], preload: false}).then(found => found.violations
        .filter(each => ["serious", "critical"].includes(each.impact))
        .map(each => [each.id, each.nodes[0].html]))
"""
"""Told by axe-core in the page; to bring all that it found here took longer than to find it."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, started once for every test process."""
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def _server() -> Iterator[BaseWSGIServer]:
    # At one address for all tests, since a browser keeps the scripts and styles of an address.
    server = make_server("127.0.0.1", 0, Flask(__name__), threaded=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def serve(_server: BaseWSGIServer) -> Callable[[Flask], str]:
    """Serves an app to browsers, in place of the one before; returns its address."""

    def do(app: Flask) -> str:
        _server.app = app
        return f"http://127.0.0.1:{_server.port}"

    return do


@pytest.fixture
def address(app: Flask, serve: Callable[[Flask], str]) -> str:
    """Where the service is served to browsers."""
    return serve(app)


@dataclass
class Visitor:
    """Somebody at a browser, who looks at what is amiss on every page."""

    page: Page
    address: str
    faults: list[str]

    def go(self, path: str) -> Page:
        self.page.goto(self.address + path)
        return self.page

    def sign_in(self, path: str = "/", *, email: str = "admin@example.com") -> Page:
        """Sign in without looking at pages, which takes a second, and go to a path."""
        calls, url = self.page.context.request, f"{self.address}/console/sign-in"
        form = {
            "email": email,
            "password": PASSWORD,
            "csrf_token": _token_in(calls.get(url).text()),
        }
        answer = calls.post(url, form=form, max_redirects=0)
        assert answer.status == 303, answer.text()
        return self.go(path)

    def check_accessibility(self) -> None:
        """Axe finds nothing serious, and nothing is wider than the screen."""
        self.page.evaluate(AXE_SCRIPT)
        assert self.page.evaluate(SERIOUS_FAULTS) == []
        width = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1]

    def forget(self) -> None:
        """Be as a browser that was just opened, but for what it keeps of scripts and styles."""
        for other in self.page.context.pages:
            if other is not self.page:
                other.close()
        for each in (self.page, self.page.context):
            each.unroute_all()
        self.page.emulate_media(color_scheme="null")
        self.page.goto("about:blank")
        self.page.context.clear_cookies()
        self.faults.clear()


@pytest.fixture(scope="session")
def _visitors() -> list[Visitor]:
    """Who is free to be somebody else; a new browser takes four times as long for its pages."""
    return []


@pytest.fixture
def open_browser(
    browser: Browser, address: str, _visitors: list[Visitor]
) -> Iterator[Callable[..., Visitor]]:
    """Opens a browser with no memory; each fault on a page fails the test.

    One with options is new, as is one that is asked to be; another was perhaps used before.
    """
    own, shared = [], []

    def do(
        screen: dict[str, int] = DESKTOP,
        address: str = address,
        *,
        is_new: bool = False,
        **options: Any,
    ) -> Visitor:
        is_own = is_new or bool(options)
        visitor = _open(browser, **options) if is_own or not _visitors else _visitors.pop()
        (own if is_own else shared).append(visitor)
        visitor.address = address
        visitor.page.set_viewport_size(screen)
        visitor.page.set_default_timeout(LONGEST_MS)
        return visitor

    yield do
    faults = [fault for visitor in own + shared for fault in visitor.faults]
    for visitor in own:
        visitor.page.context.close()
    for visitor in shared:
        visitor.forget()
    _visitors += shared
    assert faults == []


def _open(browser: Browser, **options: Any) -> Visitor:
    # Without motion, since a colour half-way to another has no contrast to speak of.
    context = browser.new_context(reduced_motion="reduce", **options)
    visitor = Visitor(context.new_page(), "", [])
    visitor.page.on("pageerror", lambda error: visitor.faults.append(str(error)))
    visitor.page.on("console", lambda said: _note(visitor, said))
    visitor.page.on("request", lambda asked: _note_stranger(visitor, asked.url))
    return visitor


def _note(visitor: Visitor, said: Any) -> None:
    # An answer that is an error page is told of as an error, too.
    if said.type == "error" and "Failed to load resource" not in said.text:
        visitor.faults.append(said.text)


def _note_stranger(visitor: Visitor, url: str) -> None:
    if not url.startswith((visitor.address, "data:")):
        visitor.faults.append(f"another host was asked: {url}")


@pytest.fixture
def admin(app: Flask) -> str:
    """The e-mail of an administrator without a contact."""
    email = "admin@example.com"
    users.create_user(email=email, password=PASSWORD, role="admin", organization="Default")
    return email


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def visitor(request: pytest.FixtureRequest, open_browser: Callable[..., Visitor]) -> Visitor:
    """Somebody at a desktop, and somebody with a phone."""
    return open_browser(request.param)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without ``--all``, a page is looked at by one of the two: by which, its name decides."""
    if not config.getoption("--all"):
        leave_out(config, items, [each for each in items if _is_looked_at_by_another(each)])


def _is_looked_at_by_another(item: pytest.Item) -> bool:
    params = getattr(item, "callspec", None) and item.callspec.params
    if not params or "visitor" not in params:
        return False
    if any("visitor" in each.args[0] for each in item.iter_markers("parametrize")):
        return False  # It says itself by whom.
    looks = (DESKTOP, PHONE)[crc32(item.originalname.encode()) % 2]
    return params["visitor"] is not looks


# Most pages are looked at by both. What is only said differs in its words, and a narrow screen
# has less room for them.
at_a_desk = pytest.mark.parametrize("visitor", [DESKTOP], indirect=True, ids=["desktop"])
on_a_phone = pytest.mark.parametrize("visitor", [PHONE], indirect=True, ids=["phone"])


@dataclass
class Session:
    """A browser's session without a browser, for what needs no eyes."""

    client: FlaskClient

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(path, query_string=query or None)

    def post(self, path: str, **form: Any) -> Any:
        """Send a form with the token of a page."""
        if "csrf_token" not in form:
            form["csrf_token"] = self.token
        return self.client.post(path, data=form)

    @property
    def token(self) -> str:
        return _token_in(self.get("/").text)


@pytest.fixture
def session(app: Flask, admin: str) -> Session:
    """The session of an administrator."""
    return sign_in(app, admin)


def sign_in(app: Flask, email: str) -> Session:
    client = app.test_client()
    token = _token_in(client.get("/console/sign-in").text)
    form = {"email": email, "password": PASSWORD, "csrf_token": token}
    assert client.post("/console/sign-in", data=form).status_code == 303
    return Session(client)


def _token_in(page: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found
    return found[1]
