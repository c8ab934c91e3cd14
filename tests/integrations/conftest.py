"""The service with all three providers at the sandbox, and people with browsers of their own."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from crm.accounts import sessions
from crm.integrations.store import get_store
from hubspot_sandbox import DEFAULT_AIRTABLE_APP, DEFAULT_APP, DEFAULT_NOTION_APP, SandboxServer
from tests.conftest import Person

KEY, OTHER_KEY = (base64.urlsafe_b64encode(each * 32).decode() for each in (b"k", b"o"))


def settings_of(sandbox: SandboxServer) -> dict[str, Any]:
    """The settings with which all three providers can be connected; HubSpot's token is gone."""
    return {
        "hubspot_private_app_token": "",
        "hubspot_client_id": DEFAULT_APP.client_id,
        "hubspot_client_secret": DEFAULT_APP.client_secret,
        "airtable_client_id": DEFAULT_AIRTABLE_APP.client_id,
        "airtable_client_secret": DEFAULT_AIRTABLE_APP.client_secret,
        "airtable_api_url": sandbox.url,
        "notion_client_id": DEFAULT_NOTION_APP.client_id,
        "notion_client_secret": DEFAULT_NOTION_APP.client_secret,
        "notion_api_url": sandbox.url,
        "encryption_keys": KEY,
    }


@pytest.fixture(autouse=True)
def _all_providers(change_settings: Callable[..., None], sandbox: SandboxServer) -> None:
    change_settings(**settings_of(sandbox))


@pytest.fixture(autouse=True)
def _nothing_kept(app: Flask) -> None:
    store = get_store()
    for key in store.list_keys(""):
        store.forget(key)


@dataclass
class Browser:
    """A browser: its cookies, whoever is signed in, and how they answer a provider's question."""

    client: FlaskClient
    person: Person
    form: dict[str, Any] = field(default_factory=dict)
    """What they choose on the provider's page, beside what is chosen already."""

    def begin(self, provider: str, **body: Any) -> str:
        """Ask to connect; where that leads to."""
        answer = self.client.post(
            f"/integrations/{provider}/authorize", json=body, headers=self.person.headers
        )
        assert answer.status_code == 200, answer.json
        return str(answer.json["authorization_url"])

    def consent(self, url: str, action: str = "connect") -> str:
        """Answer the provider's page; the path and query to which it leads back."""
        page = requests.get(url, timeout=5)
        assert page.status_code == 200, page.text
        choices = [part.split('"')[0] for part in page.text.split('name="choice" value="')[1:]]
        form = {"action": action, "choice": choices, **self.form}
        answer = requests.post(url, data=form, allow_redirects=False, timeout=5)
        assert answer.status_code == 302, answer.text
        back = urlsplit(answer.headers["Location"])
        return f"{back.path}?{back.query}"

    def connect(self, provider: str, **body: Any) -> Any:
        """The whole way; the page at its end."""
        return self.client.get(self.consent(self.begin(provider, **body)))

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(
            f"/integrations{path}", query_string=query, headers=self.person.headers
        )

    def disconnect(self, provider: str) -> Any:
        return self.client.delete(f"/integrations/{provider}", headers=self.person.headers)

    def sign_out(self) -> None:
        assert self.client.post("/logout", headers=self.person.headers).status_code == 200

    def is_connected(self, provider: str) -> bool:
        return bool(self.get(f"/{provider}/credentials").json["connected"])


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


@pytest.fixture
def open_browser(app: Flask, register: Callable[..., Person]) -> Callable[..., Browser]:
    """A new browser with somebody signed in: a user, an admin, or who registers with an address."""

    def do(email: str = "", *, role: str = "user", organization: str = "Default") -> Browser:
        client = app.test_client()
        if email:
            return Browser(client, register(email, deals=[]))
        # Without a password, which takes its time on purpose.
        token = sessions.create_token(role=role, organization=organization)
        return Browser(client, Person(client, "", {"access_token": token}))

    return do


@pytest.fixture
def browser(open_browser: Callable[..., Browser]) -> Browser:
    return open_browser()
