"""The database is away, hangs, is out of connections or full: every door says so, and none breaks.

On a Postgres of its own, which these tests stop, suspend and fill.
"""

import os
import random
import re
import signal
import string
import subprocess
import time
from contextlib import closing, contextmanager, suppress

import flask_migrate
import orjson
import psutil
import psycopg2
import pytest
import requests
from cryptography.fernet import Fernet
from psycopg2 import sql
from sqlalchemy import text

from crm import create_app, outages
from crm.accounts import api_keys
from crm.accounts import users as accounts_users
from crm.api.guards import Guard, guard_of
from crm.db import db, transaction
from crm.hubspot.signature import sign_v3
from tests.conftest import PASSWORD, _Client, registration, wait_until
from tests.domains.webhook_listener import served

from .scan_rows import make_scan

SECRET = "s3cret"
WEBHOOKS = "/webhooks/hubspot"
NOT_ASKED = {"GET /metrics", "GET /health", "GET /api/v1/health", "GET /openapi.json"}
"""They answer without a database; /health by a 503 of its own."""


@pytest.fixture(scope="module")
def service(own_postgres, make_settings):
    """The service on this Postgres."""
    app = create_app(
        make_settings(
            DATABASE_URL=own_postgres.get_uri(database="crm"),
            HUBSPOT_CLIENT_SECRET=SECRET,
            ENCRYPTION_KEYS=Fernet.generate_key().decode(),
        )
    )
    app.test_client_class = _Client
    with app.app_context():
        flask_migrate.upgrade()
    yield app
    _disconnect(app)


@pytest.fixture(scope="module")
def admin(service):
    """What opens every door: the headers of a token, those of a key, and a browser."""
    with service.app_context():
        accounts_users.create_user(
            email="admin@example.com", password=PASSWORD, role="admin", organization="Default"
        )
        key = api_keys.create_key(name="a test", organization="Default")
    client, browser = service.test_client(), service.test_client()
    answer = client.post("/login", json={"email": "admin@example.com", "password": PASSWORD})
    tokens = answer.json["data"]
    page = browser.get("/console/sign-in").text
    form = {"email": "admin@example.com", "password": PASSWORD, "csrf_token": _token_in(page)}
    assert browser.post("/console/sign-in", data=form).status_code == 303
    return {
        "browser": browser,
        "csrf_token": _token_in(browser.get("/").text),
        Guard.REFRESH: {"Authorization": f"Bearer {tokens['refresh_token']}"},
        Guard.PERSON: {"Authorization": f"Bearer {tokens['access_token']}"},
        Guard.MEMBER: {"X-API-Key": key},
        Guard.ADMIN: {"X-API-Key": key},
    }


@pytest.fixture(params=["stopped", "suspended", "out of connections"])
def outage(request, service, admin, own_postgres, monkeypatch):
    """The database is away in one of several ways."""
    with _WAYS[request.param](own_postgres, service), monkeypatch.context() as patched:
        _wait_briefly(patched)
        yield request.param


def _wait_briefly(monkeypatch):
    monkeypatch.setattr(outages, "ANSWER", 0.03)
    monkeypatch.setattr(outages, "CONNECT", 0.03)


def test_every_route_of_the_api_answers_503_in_the_one_body_when_the_database_is_away(
    service, admin, outage
):
    client = service.test_client()
    answers = {}
    for rule, method in _routes(service):
        guard = guard_of(service.view_functions[rule.endpoint])
        if isinstance(guard, Guard) and guard in admin:
            path = re.sub(r"<[^>]+>", "x@example.com", rule.rule)
            answers[f"{method} {rule.rule}"] = client.open(
                path, method=method, headers=admin[guard]
            )

    assert len(answers) > 50
    for name, answer in answers.items():
        _assert_unavailable(answer, name)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/register", registration("ada@example.com")),
        ("/login", {"email": "ada@example.com", "password": PASSWORD}),
        (WEBHOOKS, [{"portalId": 1, "subscriptionType": "contact.creation", "objectId": 1}]),
    ],
    ids=["register", "login", "webhooks"],
)
def test_what_is_open_to_all_answers_503_when_the_database_is_away(service, outage, path, body):
    data = orjson.dumps(body)

    answer = service.test_client().post(
        path, data=data, headers=_signed(data), content_type="application/json"
    )

    _assert_unavailable(answer, path)


def test_every_page_of_the_console_says_so_with_503_when_the_database_is_away(
    service, admin, outage
):
    browser, token = admin["browser"], admin["csrf_token"]
    cookie = browser.get_cookie("session")
    pages = [
        (f"{method} {rule.rule}", re.sub(r"<[^>]+>", "1", rule.rule), method)
        for rule, method in _routes(service)
        if rule.endpoint.startswith("console.") and rule.endpoint != "console.static"
    ]

    assert len(pages) > 30
    for name, path, method in pages:
        form = {"csrf_token": token} if method == "POST" else None
        browser.set_cookie(cookie.key, cookie.value)
        answer = browser.open(path, method=method, data=form)
        if answer.status_code < 500:
            assert path in ("/console/sign-in", "/console/sign-up"), name  # A form as it was.
            continue
        assert answer.status_code == 503, name
        assert answer.headers["Retry-After"] == "5", name
        assert "The database does not answer" in answer.text, name
        assert "Traceback" not in answer.text, name


def test_signing_in_to_the_console_is_a_page_with_503_when_the_database_is_away(service, outage):
    browser = service.test_client()
    token = _token_in(browser.get("/console/sign-in").text)
    form = {"email": "admin@example.com", "password": PASSWORD, "csrf_token": token}

    answer = browser.post("/console/sign-in", data=form)

    assert answer.status_code == 503
    assert "The database does not answer" in answer.text


def test_health_says_within_a_second_that_the_database_is_away(service, outage):
    for path in ("/health", "/api/v1/health"):
        began = time.monotonic()

        answer = service.test_client().get(path)

        assert time.monotonic() - began < 1.1
        assert answer.status_code == 503
        assert answer.json["status"] == "unhealthy"
        assert answer.json["dependencies"]["database"]["status"] == "unhealthy"


def test_an_outage_writes_no_traceback_into_the_log(service, admin, outage, capfd):
    service.test_client().get("/contacts", headers=admin[Guard.ADMIN])

    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("fate", ["stopped", "suspended", "out of connections"])
def test_the_next_request_is_answered_when_the_database_is_back(
    service, admin, own_postgres, monkeypatch, fate
):
    client = service.test_client()
    with _WAYS[fate](own_postgres, service), monkeypatch.context() as patched:
        _wait_briefly(patched)
        _assert_unavailable(client.get("/contacts", headers=admin[Guard.ADMIN]), "/contacts")

    for _ in range(2):
        assert client.get("/contacts", headers=admin[Guard.ADMIN]).status_code == 200
        assert client.get("/health").status_code == 200


def test_a_connection_that_was_given_up_is_closed(service, admin, own_postgres, monkeypatch):
    client = service.test_client()
    with _suspended(own_postgres, service), monkeypatch.context() as patched:
        _wait_briefly(patched)
        for _ in range(5):
            client.get("/contacts", headers=admin[Guard.ADMIN])
    _disconnect(service)

    wait_until(lambda: 0 < _count_connections(own_postgres) <= 1, 10)


# A connection that failed; resources (any, memory, connections, a limit); an end, a crash, a start;
# I/O; a database that is read-only. DOORS try a full disk.
CODES = ["08006", "53000", "53200", "53300", "53400", "57P01", "57P02", "57P03", "58030", "25006"]


DOORS = [
    ("users", "/register"),
    ("procrastinate_jobs", "/register"),
    ("sign_ins", "/login"),
    ("records", "/customers"),
    ("scans", "/api/v1/scan/start"),
    ("deliveries", WEBHOOKS),
]


@pytest.mark.parametrize(
    ("table", "path", "code"),
    [
        *((*door, "53100") for door in DOORS),
        *((*DOORS[0], code) for code in CODES),
        *((*DOORS[-1], code) for code in CODES),
    ],
)
def test_a_write_is_answered_with_503_when_postgres_refuses_it_by(
    service, admin, refused_by, table, path, code
):
    bodies = {
        "/register": registration("grace@example.com"),
        "/login": {"email": "admin@example.com", "password": PASSWORD},
        "/customers": {"email": "c@example.com", "firstname": "C", "lastname": "D"},
        "/api/v1/scan/start": {
            "config": {
                "scanId": "one",
                "type": ["hubspot_deals"],
                "auth": {"hubspot_access_token": "pat-na1-sandbox"},
            }
        },
        WEBHOOKS: [{"portalId": 1, "subscriptionType": "contact.creation", "objectId": 1}],
    }
    data = orjson.dumps(bodies[path])
    headers = _signed(data) if path == WEBHOOKS else admin[Guard.ADMIN]

    with refused_by(table, code):
        answer = service.test_client().post(
            path, data=data, headers=headers, content_type="application/json"
        )

    _assert_unavailable(answer, path)


def test_a_failed_customer_is_told_in_the_documents_words_when_the_database_is_full(
    service, admin, refused_by
):
    body = {"email": "c@example.com", "firstname": "C", "lastname": "D"}

    with refused_by("records", "53100"):
        answer = service.test_client().post("/customers", json=body, headers=admin[Guard.ADMIN])

    assert answer.json["error"] == "Error creating customer"
    assert answer.json["error_code"] == "UNAVAILABLE"


def test_a_read_only_database_answers_reads_and_refuses_writes_with_503(
    service, admin, own_postgres
):
    def set_read_only(value):
        with closing(psycopg2.connect(own_postgres.get_uri())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER DATABASE crm SET default_transaction_read_only = {value}")

    set_read_only("on")
    _disconnect(service)
    client = service.test_client()
    try:
        assert client.get("/contacts", headers=admin[Guard.ADMIN]).status_code == 200
        answer = client.post("/register", json=registration("grace@example.com"))
        _assert_unavailable(answer, "/register")
    finally:
        set_read_only("off")
        _disconnect(service)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_is_really_full_is_a_503_and_nothing_accepted_is_lost(
    make_settings, own_postgres, tmp_path
):
    with _small_disk(tmp_path, own_postgres.system_user) as disk:
        app = _service_on_disk(make_settings, own_postgres, disk)
        client = app.test_client()
        accepted, statuses = [], set()
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk.parent / "others' files").write_bytes(b"x" * (free - 1_000_000))
        for number in range(30):
            body = registration(f"p{number}@example.com")
            body["deals"][0]["description"] = "".join(
                random.choices(string.ascii_letters + string.digits, k=60_000)
            )
            answer = client.post("/register", json=body)
            statuses.add(answer.status_code)
            if answer.status_code == 201:
                accepted.append(f"p{number}@example.com")
            else:
                _assert_unavailable(answer, "/register")

        assert statuses == {201, 503}
        with app.app_context(), transaction() as session:
            users = session.scalars(text("SELECT email FROM users ORDER BY id")).all()
            contacts = session.scalars(
                text("SELECT email FROM records WHERE object_type = 'contacts' ORDER BY id")
            ).all()
        assert users == contacts == accepted
        _disconnect(app)
        _execute(own_postgres.get_uri(), "DROP DATABASE small", "DROP TABLESPACE small")


def test_events_end_without_an_error_when_the_database_goes_away(service, admin, own_postgres):
    with service.app_context():
        make_scan("watched", status="running")
    with (
        served(service) as address,
        requests.get(
            f"{address}/api/v1/scan/events/watched",
            headers=admin[Guard.ADMIN],
            stream=True,
            timeout=20,
        ) as answer,
    ):
        lines = answer.iter_lines(chunk_size=1)
        began = [next(lines) for _ in range(3)]
        with _stopped(own_postgres, service):
            rest = list(lines)

    assert answer.status_code == 200
    assert b"event: progress" in began
    assert not [each for each in rest if each.startswith(b"event:")]


def _routes(app):
    for rule in app.url_map.iter_rules():
        for method in set(rule.methods or ()) & {"GET", "POST", "PUT", "PATCH", "DELETE"}:
            if f"{method} {rule.rule}" not in NOT_ASKED:
                yield rule, method


def _signed(body):
    now = time.time_ns() // 1_000_000
    uri = f"http://localhost{WEBHOOKS}"
    signature = sign_v3(SECRET, method="POST", uri=uri, body=body, timestamp=now)
    return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": str(now)}


def _token_in(page):
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)[1]


def _assert_unavailable(answer, name):
    assert answer.status_code == 503, (name, answer.text)
    assert answer.json["status"] == "error", name
    assert answer.json["error_code"] == "UNAVAILABLE", (name, answer.text)
    assert answer.json["error"] == answer.json["message"], name
    assert answer.headers["Retry-After"] == "5", name
    assert "Traceback" not in answer.text
    assert "SELECT" not in answer.text


def _disconnect(app):
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


@contextmanager
def _stopped(server, _app):
    server._stop()
    try:
        yield
    finally:
        wait_until(lambda: _is_started(server))


def _is_started(server):
    # On a busy machine it takes longer than the library waits.
    with suppress(subprocess.SubprocessError):
        server.ensure_postgres_running()
        return True
    return False


@contextmanager
def _suspended(server, _app):
    processes = [psutil.Process(server.get_pid())]
    processes += processes[0].children(recursive=True)
    for each in processes:
        each.suspend()
    try:
        yield
    finally:
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGCONT)


@contextmanager
def _exhausted(server, app):
    _disconnect(app)
    # Those that others gave up while it was suspended make room only after a moment.
    wait_until(lambda: 0 < _count_connections(server) <= 1)
    taken = []
    with suppress(psycopg2.OperationalError):
        while True:
            taken.append(psycopg2.connect(server.get_uri()))
    try:
        yield
    finally:
        for each in taken:
            each.close()
        wait_until(lambda: 0 < _count_connections(server) <= 1)


def _count_connections(server):
    """How many there are, with the one that asks; 0 if there is no room for it."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    with (
        suppress(psycopg2.OperationalError),
        closing(psycopg2.connect(server.get_uri())) as asking,
        asking.cursor() as cursor,
    ):
        cursor.execute(asked)
        return cursor.fetchone()[0]
    return 0


_WAYS = {"stopped": _stopped, "suspended": _suspended, "out of connections": _exhausted}


@pytest.fixture
def refused_by(service):
    """A context in which Postgres refuses every new row of a table with an SQLSTATE."""

    @contextmanager
    def refuse(table, code):
        names = {"table": sql.Identifier(table), "code": sql.Literal(code)}
        uri = service.extensions["crm_settings"].database_url
        _execute(
            uri,
            sql.SQL(
                "CREATE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql"
                " AS $$ BEGIN RAISE SQLSTATE {code}; END $$;"
                " CREATE TRIGGER refuse_row BEFORE INSERT ON {table}"
                " EXECUTE FUNCTION refuse_row()"
            ).format(**names),
        )
        try:
            yield
        finally:
            _execute(
                uri,
                sql.SQL("DROP TRIGGER refuse_row ON {table}; DROP FUNCTION refuse_row()").format(
                    **names
                ),
            )

    return refuse


def _execute(uri, *statements):
    with closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for each in statements:
                cursor.execute(each)


@contextmanager
def _small_disk(folder, owner):
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this root may not mount a small disk")
    try:
        space = disk / "space"
        space.mkdir()
        subprocess.run(["chown", owner, str(disk), str(space)], check=True)
        # Postgres's own user must find the way.
        for each in (folder, *folder.parents):
            if each.stat().st_mode & 0o001 == 0:
                each.chmod(each.stat().st_mode | 0o011)
        yield space
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _service_on_disk(make_settings, server, disk):
    _execute(
        server.get_uri(),
        f"CREATE TABLESPACE small LOCATION '{disk}'",
        "CREATE DATABASE small TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin"
        " BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C' TABLESPACE small",
    )
    app = create_app(make_settings(DATABASE_URL=server.get_uri(database="small")))
    app.test_client_class = _Client
    with app.app_context():
        flask_migrate.upgrade()
    return app
