"""A real browser in front of the real service."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page
from werkzeug.serving import make_server

from crm.services import accounts
from tests.api.conftest import counted_statements, make_contact, make_graph
from tests.browser import CHROMIUM, DESKTOP, MISSING, PHONE, started_browser
from tests.conftest import PASSWORD

__all__ = ["counted_statements", "make_contact", "make_graph"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, started once for every test process."""
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with started_browser() as browser:
        yield browser


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], str]]:
    """Serves an app to browsers; returns its address."""
    servers = []

    def do(app: Flask) -> str:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.port}"

    yield do
    for server in servers:
        server.shutdown()
        server.server_close()


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
        found = Axe().run(self.page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []
        width = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1]


@pytest.fixture
def open_browser(browser: Browser, address: str) -> Iterator[Callable[..., Visitor]]:
    """Opens a browser with no memory; each fault on a page fails the test."""
    contexts, visitors = [], []

    def do(screen: dict[str, int] = DESKTOP, address: str = address, **options: Any) -> Visitor:
        context = browser.new_context(viewport=screen, **options)
        context.set_default_timeout(5000)
        contexts.append(context)
        visitor = Visitor(context.new_page(), address, [])
        visitor.page.on("pageerror", lambda error: visitor.faults.append(str(error)))
        visitor.page.on("console", lambda said: _note(visitor, said))
        visitor.page.on("request", lambda asked: _note_stranger(visitor, asked.url))
        visitors.append(visitor)
        return visitor

    yield do
    for context in contexts:
        context.close()
    assert [fault for visitor in visitors for fault in visitor.faults] == []


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
    accounts.create_user(email=email, password=PASSWORD, role="admin", organization="Default")
    return email


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def visitor(request: pytest.FixtureRequest, open_browser: Callable[..., Visitor]) -> Visitor:
    """Somebody at a desktop, and somebody with a phone."""
    return open_browser(request.param)


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
