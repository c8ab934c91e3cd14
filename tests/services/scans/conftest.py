"""Scans of the sandbox's portal."""

import base64
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import text

from crm.extensions import transaction

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()


@pytest.fixture(autouse=True)
def _encryption(change_settings: Callable[..., None]) -> None:
    change_settings(encryption_keys=KEY)


@pytest.fixture
def organization_id(app: Flask) -> int:
    """The default organization."""
    with transaction() as session:
        return int(session.execute(text("SELECT id FROM organizations")).scalar_one())
