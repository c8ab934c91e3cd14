"""The domains against a real Postgres and the sandbox; ``relay`` stands between when it must."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import pytest
from flask import Flask

from crm.hubspot import retries
from crm.push.job import push
from hubspot_sandbox import DEFAULT_APP, SandboxServer
from hubspot_sandbox.delivery_settings import DeliverySettings
from tests.domains.webhook_listener import Ear, served
from tests.hubspot.relay import Relay
from tests.sandbox.client import HubSpot


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between the attempts of a call."""
    rows = {row.met: replace(row, pause=row.pause / 1000) for row in retries.TABLE}
    monkeypatch.setattr(retries, "_ROWS", rows)


@pytest.fixture
def hubspot(sandbox: SandboxServer) -> Iterator[HubSpot]:
    """HubSpot's own API, as anyone may call it."""
    client = HubSpot(sandbox.url)
    with client.session:
        yield client


@pytest.fixture
def relay(change_settings: Callable[..., None], sandbox: SandboxServer) -> Iterator[Relay]:
    with Relay(sandbox.url) as relay:
        change_settings(hubspot_api_url=relay.url)
        yield relay


@pytest.fixture
def ear(
    app: Flask,
    portal_id: int,
    sandbox: SandboxServer,
    change_settings: Callable[..., None],
    set_up: None,
) -> Iterator[Ear]:
    """The sandbox's webhooks, signed, come to the service over HTTP."""
    change_settings(hubspot_client_secret=DEFAULT_APP.client_secret)
    with served(app) as url:
        sandbox.set_webhooks(f"{url}/webhooks/hubspot")
        yield Ear(sandbox, portal_id)
        sandbox.set_webhooks(None)
        sandbox.set_delivery(**asdict(DeliverySettings()))


@pytest.fixture
def send(portal_id: int) -> Callable[[], None]:
    """Push what waits, as the job would."""
    return lambda: push(portal_id)
