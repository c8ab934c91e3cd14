"""A sandbox served over real HTTP, fresh for each test, and a client for it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from hubspot_sandbox import SandboxServer
from hubspot_sandbox.delivery_settings import DeliverySettings
from hubspot_sandbox.store import Settings

from .client import HubSpot
from .receiver import Receiver


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(port=0, index_lag_ms=0, seed=7, limits=False) as running:
        yield running


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.sandbox.settings = Settings(index_lag_ms=0).lift_limits()
    server.sandbox.clock.offset_ms = 0
    server.set_webhooks(None)
    server.set_delivery(**asdict(DeliverySettings()))
    server.reset()
    return server


@pytest.fixture(scope="session")
def _client(server: SandboxServer) -> Iterator[HubSpot]:
    client = HubSpot(server.url)
    with client.session:
        yield client


@pytest.fixture
def hubspot(sandbox: SandboxServer, _client: HubSpot) -> HubSpot:
    return _client


@pytest.fixture
def contact(hubspot: HubSpot) -> dict[str, Any]:
    return hubspot.create("contacts", email="ada@example.com", firstname="Ada", lastname="Okoye")


@pytest.fixture
def make_deal(hubspot: HubSpot) -> Callable[..., dict[str, Any]]:
    def make(**changes: str) -> dict[str, Any]:
        return hubspot.create(
            "deals", **{"dealname": "Pilot", "dealstage": "qualifiedtobuy", **changes}
        )

    return make


@pytest.fixture
def unique_property(hubspot: HubSpot) -> str:
    """Give deals, contacts and companies a unique text property; return its name."""
    for object_type, group in (
        ("deals", "dealinformation"),
        ("contacts", "contactinformation"),
        ("companies", "companyinformation"),
    ):
        answer = hubspot.post(
            f"/crm/properties/2026-09/{object_type}",
            {
                "name": "crm_uid",
                "label": "CRM uid",
                "type": "string",
                "fieldType": "text",
                "groupName": group,
                "hasUniqueValue": True,
            },
        )
        assert answer.status_code == 201, answer.text
    return "crm_uid"


@pytest.fixture
def receiver(sandbox: SandboxServer) -> Iterator[Receiver]:
    """Receive every webhook of the sandbox's app."""
    with Receiver() as running:
        sandbox.set_webhooks(running.url)
        yield running
        sandbox.set_webhooks(None)
