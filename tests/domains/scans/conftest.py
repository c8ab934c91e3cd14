"""Scans of the sandbox's portal."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from crm.db import transaction
from crm.scans.commands import ScanConfig, start_scan
from hubspot_sandbox import DEFAULT_PORTAL_ID, DEFAULT_TOKEN, SandboxServer
from tests.sandbox.client import HubSpot

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
TYPE_IDS = {"contacts": 3, "companies": 341, "line_items": 19}
"""From a deal."""


@pytest.fixture(autouse=True)
def _ready(change_settings: Callable[..., None]) -> None:
    """There is a key, and the sandbox's portal is the mirror's, which may call often."""
    change_settings(encryption_keys=KEY)
    with transaction() as session:
        session.execute(text("UPDATE portals SET hub_id = :id"), {"id": DEFAULT_PORTAL_ID})


@pytest.fixture
def organization_id(app: Flask) -> int:
    """The default organization."""
    with transaction() as session:
        return int(session.execute(text("SELECT id FROM organizations")).scalar_one())


@pytest.fixture
def begin(organization_id: int, sandbox: SandboxServer) -> Callable[..., None]:
    """Start a scan called "scan", with fields of its config."""

    def do(*, token: str = DEFAULT_TOKEN, **config: Any) -> None:
        start_scan(organization_id, "scan", token, ScanConfig(**config))

    return do


@pytest.fixture
def scan(begin: Callable[..., None], run_jobs: Callable[[], None]) -> Callable[..., dict[str, Any]]:
    """Start a scan and work on it as long as a job is due; returns its row."""

    def do(**options: Any) -> dict[str, Any]:
        begin(**options)
        run_jobs()
        return status()

    return do


@pytest.fixture
def create(hubspot: HubSpot) -> Callable[..., list[str]]:
    """Create records in batches; returns their ids in the order of their inputs."""
    numbers = iter(range(10_000_000))

    def do(object_type: str, count: int, **properties: str) -> list[str]:
        made = []
        for first in range(0, count, 100):
            inputs = [
                {"properties": named(object_type, next(numbers)) | properties}
                for _ in range(min(100, count - first))
            ]
            made += hubspot.batch(object_type, "create", *inputs).json()["results"]
        return sorted((each["id"] for each in made), key=int)

    return do


@pytest.fixture
def associate(hubspot: HubSpot) -> Callable[..., None]:
    """Associate a deal with records of a type."""

    def do(deal_id: str, object_type: str, ids: Sequence[str]) -> None:
        kind = {
            "associationCategory": "HUBSPOT_DEFINED",
            "associationTypeId": TYPE_IDS[object_type],
        }
        inputs = [{"from": {"id": deal_id}, "to": {"id": each}, "types": [kind]} for each in ids]
        path = f"/crm/associations/2026-09/deals/{object_type}/batch/create"
        assert hubspot.post(path, {"inputs": inputs}).status_code == 201

    return do


def named(object_type: str, number: int) -> dict[str, str]:
    """The properties that a new record needs."""
    if object_type == "contacts":
        return {"email": f"person{number}@example.com"}
    if object_type == "deals":
        return {"dealname": f"Deal {number}", "dealstage": "qualifiedtobuy"}
    return {"name": f"{object_type} {number}"}


def status() -> dict[str, Any]:
    """The scan's row."""
    with transaction() as session:
        return dict(session.execute(text("SELECT * FROM scans")).mappings().one())


def results() -> dict[str, dict[str, Any]]:
    """The deals that are stored, by their ids."""
    with transaction() as session:
        rows = session.execute(text("SELECT * FROM scan_deals")).mappings()
        return {str(row["deal_id"]): dict(row) for row in rows}
