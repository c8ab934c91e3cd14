"""Ids: HubSpot never gives one twice, whatever happens to it."""

from collections.abc import Iterator

import pytest

from hubspot_sandbox import SandboxServer
from hubspot_sandbox.store import Sandbox

from .client import HubSpot


@pytest.fixture
def unseeded() -> Iterator[SandboxServer]:
    with SandboxServer(port=0, index_lag_ms=0) as server:
        yield server


def _new_id(server: SandboxServer) -> int:
    return int(HubSpot(server.url).create("companies", name="Okoye & Co")["id"])


def test_a_reset_sandbox_gives_no_id_that_it_has_given_before(unseeded):
    before = _new_id(unseeded)

    unseeded.reset()

    assert _new_id(unseeded) > before


def test_a_sandbox_that_was_killed_gives_no_id_that_its_file_does_not_know_of(unseeded):
    saved = unseeded.sandbox.serialize()
    lost = _new_id(unseeded)
    restarted = Sandbox()
    restarted.restore(saved)

    with SandboxServer(port=0, index_lag_ms=0, sandbox=restarted) as server:
        assert _new_id(server) > lost
