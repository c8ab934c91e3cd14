"""What the tests of the REST API share."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import cursor
from sqlalchemy import text

from crm import create_app
from crm.accounts import api_keys, users
from crm.config import Settings
from crm.db import db, transaction
from crm.mirror.rows import NewRecord, associate, create_records
from crm.models import Record
from crm.object_types import CONTACT_TO_DEAL, DEAL_TO_TICKET, DEALS, TICKETS
from hubspot_sandbox import SandboxServer
from tests.conftest import PASSWORD, Person, free_port, wait_until


@pytest.fixture
def make_user(app: Flask, client: FlaskClient) -> Callable[..., Person]:
    """Makes a user without a contact, and signs them in."""

    def make(
        email: str = "somebody@example.com", role: str = "user", organization: str = "Default"
    ) -> Person:
        users.create_user(email=email, password=PASSWORD, role=role, organization=organization)
        return sign_in(client, email)

    return make


@pytest.fixture
def make_key(app: Flask) -> Callable[..., dict[str, str]]:
    """Makes an API key of an organization; returns the headers that carry it."""

    def make(organization: str = "Default") -> dict[str, str]:
        return {"X-API-Key": api_keys.create_key(name="a test", organization=organization)}

    return make


@pytest.fixture
def make_contact(app: Flask, portal_id: int) -> Callable[..., int]:
    """Writes a contact into the mirror as if it had come from HubSpot; returns its row's id."""

    def make(email: str | None, *, portal_id: int = portal_id, **values: Any) -> int:
        columns = {
            name: values.pop(name)
            for name in ("hs_object_id", "hs_created_at", "hs_modified_at", "archived_at")
            if name in values
        }
        record = Record(
            portal_id=portal_id,
            object_type="contacts",
            properties={"email": email, **values},
            state="synced",
            **columns,
        )
        with transaction() as session:
            session.add(record)
            session.flush()  # For its id.
            return record.id

    return make


@pytest.fixture
def make_plain_app(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Flask]]:
    """Makes the service without touching what it stands on, which may be down."""
    apps: list[Flask] = []

    def make(**changes: str) -> Flask:
        apps.append(create_app(make_settings(**changes)))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()


@pytest.fixture
def make_graph(make_contact: Callable[..., int], portal_id: int) -> Callable[..., dict[str, Any]]:
    """Writes a contact with deals, each with the same tickets; returns the rows' ids."""

    def make(
        email: str,
        *,
        deals: Sequence[dict[str, str]] = (),
        tickets: Sequence[dict[str, str]] = (),
        **contact: Any,
    ) -> dict[str, Any]:
        contact_id = make_contact(email, **contact)
        new_deals = [NewRecord(DEALS, each) for each in deals]
        new_tickets = [(deal, NewRecord(TICKETS, each)) for deal in new_deals for each in tickets]
        with transaction():
            ids = create_records(portal_id, [*new_deals, *(ticket for _, ticket in new_tickets)])
            associate(
                portal_id,
                [(CONTACT_TO_DEAL, contact_id, ids[deal.uuid]) for deal in new_deals]
                + [(DEAL_TO_TICKET, ids[one.uuid], ids[other.uuid]) for one, other in new_tickets],
            )
        return {
            "contact": contact_id,
            "deals": [ids[each.uuid] for each in new_deals],
            "tickets": [ids[each.uuid] for _, each in new_tickets],
        }

    return make


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """A context in which every call of psycopg2's ``execute`` by this thread is noted."""
    found: list[str] = []

    def note(_frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and isinstance(getattr(called, "__self__", None), cursor):
            found.extend(["execute"] * (called.__name__ == "execute"))

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


@pytest.fixture
def in_hubspot(sandbox: SandboxServer) -> Callable[..., list[dict[str, Any]]]:
    """Reads the properties of all records of a type from the sandbox's own API."""

    def read(object_type: str, *properties: str) -> list[dict[str, Any]]:
        answer = requests.get(
            f"{sandbox.url}/crm/v3/objects/{object_type}",
            params={"properties": ",".join(properties), "limit": 100},
            headers={"Authorization": "Bearer pat-na1-sandbox"},
            timeout=10,
        )
        assert answer.status_code == 200, answer.text
        return [each["properties"] for each in answer.json()["results"]]

    return read


@pytest.fixture
def make_hubspot_contact(sandbox: SandboxServer) -> Callable[..., str]:
    """Makes a contact in HubSpot, unknown to the mirror; returns its id."""

    def make(**properties: str) -> str:
        answer = requests.post(
            f"{sandbox.url}/crm/v3/objects/contacts",
            json={"properties": properties},
            headers={"Authorization": "Bearer pat-na1-sandbox"},
            timeout=10,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return make


@pytest.fixture
def failing_inserts(app: Flask) -> Callable[[str], Any]:
    """A context in which Postgres refuses every new row of a table, as a full disk would.

    Or, with ``event="UPDATE"``, every change of one.
    """

    @contextmanager
    def refuse(table: str, event: str = "INSERT") -> Iterator[None]:
        _run(
            "CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE 'no row today'; END $$;"
            f" CREATE TRIGGER refuse_row BEFORE {event} ON {table} EXECUTE FUNCTION refuse_row()"
        )
        try:
            yield
        finally:
            _run(f"DROP TRIGGER refuse_row ON {table}; DROP FUNCTION refuse_row()")

    return refuse


def _run(statement: str) -> None:
    with transaction() as session:
        session.execute(text(statement))


def sign_in(client: FlaskClient, email: str, password: str = PASSWORD) -> Person:
    answer = client.post("/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.json
    return Person(client, email, answer.json["data"])


def contacts_in(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.json
    contacts: list[dict[str, Any]] = answer.json["data"]["data"]["contacts"]
    return contacts


def emails_in(answer: Any) -> list[str]:
    return [each["email"] for each in contacts_in(answer)]


def count_rows(table: str) -> int:
    with transaction() as session:
        return int(session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608


@contextmanager
def serving(
    settings: Settings, folder: Path, application: str = "crm:create_app()", **changes: str
) -> Iterator[tuple[str, psutil.Popen]]:
    """The service as gunicorn serves it: its address, and gunicorn's own process.

    Args:
        settings: of the database.
        folder: for what it writes.
        application: what gunicorn serves.
        changes: of its environment.
    """
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": settings.secret_key,
        "JWT_SECRET_KEY": settings.jwt_secret_key,
        "LOG_LEVEL": "ERROR",
        "WEB_CONCURRENCY": "1",
        "DATA_DIR": str(folder),
        "TMPDIR": str(folder),
        **changes,
    }
    command = ["-m", "gunicorn", "--config", "python:crm.gunicorn", application]
    process = psutil.Popen([sys.executable, *command], env=environment)
    url = f"http://127.0.0.1:{port}"
    processes = int(environment["WEB_CONCURRENCY"])
    try:
        wait_until(lambda: answers(url) and len(process.children()) == processes, 60)
        yield url, process
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    """Whether the service is there yet; one that starts on a busy machine lets callers wait."""
    with suppress(requests.RequestException):
        return requests.get(f"{url}/health", timeout=5).ok
    return False
