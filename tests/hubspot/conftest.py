"""The client against the sandbox over HTTP, or against a relay where the sandbox is too polite."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crm.hubspot.client import HubSpotClient, Timeouts
from hubspot_sandbox import DEFAULT_TOKEN, SandboxServer
from tests.hubspot.relay import Relay


@pytest.fixture(scope="session")
def _server() -> Iterator[SandboxServer]:
    with SandboxServer(port=0, index_lag_ms=0, seed=11, limits=False) as running:
        yield running


@pytest.fixture
def sandbox(_server: SandboxServer) -> SandboxServer:
    _server.reset()
    _server.sandbox.settings.index_lag_ms = 0
    return _server


@pytest.fixture
def relay(sandbox: SandboxServer) -> Iterator[Relay]:
    with Relay(sandbox.url) as relay:
        yield relay


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that the client made, without the waiting."""
    return []


@pytest.fixture
def make_client(sandbox: SandboxServer, pauses: list[float]) -> Callable[..., HubSpotClient]:
    def make(
        url: str = "",
        *,
        token: Any = DEFAULT_TOKEN,
        version: str = "2026-09",
        budget: Any = None,
        **timeouts: float,
    ) -> HubSpotClient:
        return HubSpotClient(
            base_url=url or sandbox.url,
            token=token,
            version=version,
            timeouts=Timeouts(**{"connect": 1, "read": 10, **timeouts}),
            pause=pauses.append,
            budget=budget,
        )

    return make


@pytest.fixture
def client(make_client: Callable[..., HubSpotClient]) -> HubSpotClient:
    """Speaks to the sandbox."""
    return make_client()


@pytest.fixture
def relayed(make_client: Callable[..., HubSpotClient], relay: Relay) -> HubSpotClient:
    """Speaks to the relay."""
    return make_client(relay.url)
