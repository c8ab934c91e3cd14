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
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

import psycopg2
from cryptography.fernet import Fernet
from dotenv import dotenv_values

import crm
from crm.config import (
    DEMO_EMAIL,
    DEMO_PASSWORD,
    EMBEDDED_FILE,
    OAUTH_CALLBACK_PATH,
    Settings,
    load_settings,
)
from crm.errors import ConfigError
from crm.launcher.embedded_postgres import start_postgres, stop_postgres
from crm.launcher.parts import Part, Parts, end, find_leftovers, keep_small
from hubspot_sandbox import DEFAULT_AIRTABLE_APP, DEFAULT_APP, DEFAULT_NOTION_APP, DEFAULT_TOKEN
from hubspot_sandbox.access_admin import is_redirect_uri

_BEGAN = time.monotonic()
_LONGEST_START = 60.0
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequestedError(Exception):
    """Ctrl-C, or a signal that asks us to end."""


def main() -> int:
    """Start everything, watch it, stop it; returns the exit code."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for each in _ENDINGS:
        # As nohup wants it, a closed terminal may mean nothing.
        if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, _request_stop)
    try:
        with ExitStack() as running:
            _watch(_start_everything(running))
    except ConfigError as error:
        return _end(error.message, 1)
    except StopRequestedError:
        return _end("stopped", 0)


def _end(words: str, code: int) -> int:
    # Nobody reads them at a terminal that was closed.
    with suppress(OSError):
        print(f"crm: {words}", file=sys.stderr)
    return code


def _start_everything(running: ExitStack) -> Parts:
    """Start the parts, each as soon as what it needs is there; ``running`` stops them."""
    configured = load_settings(embedded=False)
    with_sandbox = not (configured.is_production or configured.has_own_app)
    is_open = _is_open(configured, with_sandbox=with_sandbox)
    parts = Parts(
        configured.data_folder, _log_file(configured), running, _inherited(is_open=is_open)
    )
    _make_room(configured, parts, with_sandbox=with_sandbox)
    _tell_step("starting")
    # Half of a start is reading the service's code, and it can be read while others begin.
    threading.Thread(target=lambda: crm.prepare_database, daemon=True).start()
    given = {} if configured.is_production else _embed(configured, with_sandbox=with_sandbox)
    parts.environment.update(given)
    sandbox = _start_sandbox(parts) if with_sandbox else None
    if not configured.database_url:
        _tell_step("making the database")
        postgres, given["DATABASE_URL"] = start_postgres(parts.folder / "postgres")
        parts.started.append(postgres)
    if given:
        _leave(given, parts.folder)
    parts.environment.update(given)
    settings = load_settings(parts.environment)
    _tell_step("migrating it")
    with_demo = crm.prepare_database(
        settings, log_file=str(parts.log_file or ""), open_access=is_open
    )
    if sandbox:
        _tell_step("waiting for the local HubSpot")
        _wait_for(sandbox, f"{settings.hubspot_api_url}/_sandbox/health")
    _tell_step("starting the worker and the web server")
    _start_service(parts, settings, is_open=is_open)
    _tell(configured, settings, parts.log_file, with_sandbox=with_sandbox)
    _tell_access(is_open=is_open, with_demo=with_demo)
    return parts


def _log_file(settings: Settings) -> Path | None:
    is_at_terminal = settings.is_production or settings.log_requests
    return None if is_at_terminal else settings.data_folder / "crm.log"


def _make_room(settings: Settings, parts: Parts, *, with_sandbox: bool) -> None:
    """Refuse what cannot work before anything starts, and end what a killed run.py has left."""
    if with_sandbox and settings.sandbox_port == settings.port:
        raise ConfigError("PORT and SANDBOX_PORT are the same; set one to another port")
    if not settings.is_production:
        _claim(_writable(parts.folder), parts.running)
        # Now it is ours alone. At the end too, for what a signal kept from being written down.
        parts.running.callback(stop_postgres, parts.folder / "postgres")
    parts.running.callback(lambda: end(find_leftovers(parts.folder)))
    leftovers = find_leftovers(parts.folder)
    if leftovers:
        _tell_step("ending what a run.py that was killed has left")
        end(leftovers)
    _refuse_used_port("PORT", settings.port, settings.listen_address)
    if with_sandbox:
        _refuse_used_port("SANDBOX_PORT", settings.sandbox_port, "127.0.0.1")
    if settings.database_url:
        _refuse_dead_database(settings)
    if parts.log_file:
        keep_small(parts.log_file)


def _start_sandbox(parts: Parts) -> Part:
    settings = load_settings(parts.environment)
    return parts.start(
        *("sandbox", "hubspot_sandbox", "--port", str(settings.sandbox_port)),
        *("--state", str(parts.folder / "sandbox.json"), "--demo"),
        *(f"--redirect-uri={each}" for each in _callbacks(settings, "hubspot")),
        *(f"--airtable-redirect-uri={each}" for each in _callbacks(settings, "airtable")),
        *(f"--notion-redirect-uri={each}" for each in _callbacks(settings, "notion")),
        *("--webhook-url", settings.local_webhook_url),
    )


def _start_service(parts: Parts, settings: Settings, *, is_open: bool) -> None:
    # Both flask and gunicorn take the factory's arguments as Python writes them.
    app = f"crm:create_app(log_file={str(parts.log_file or '')!r}, open_access={is_open})"
    parts.start("worker", "flask", "--app", app, "worker")
    web = parts.start("web", "gunicorn", "--config", "python:crm.gunicorn", app)
    _wait_for(web, f"http://{settings.local_host}:{settings.port}/health")


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


def _embed(settings: Settings, *, with_sandbox: bool) -> dict[str, str]:
    """What the embedded default sets because nobody else did."""
    kept = dotenv_values(settings.data_folder / EMBEDDED_FILE)
    given = {
        # A Fernet key is 32 random bytes, good enough for the others too.
        name: getattr(settings, name.lower()) or kept.get(name) or Fernet.generate_key().decode()
        for name in ("SECRET_KEY", "JWT_SECRET_KEY", "ENCRYPTION_KEYS")
    }
    if with_sandbox:
        given["HUBSPOT_API_URL"] = f"http://127.0.0.1:{settings.sandbox_port}"
        given["HUBSPOT_PRIVATE_APP_TOKEN"] = DEFAULT_TOKEN
        given["PUBLIC_URL"] = settings.public_url or settings.local_url
        given["HUBSPOT_CLIENT_ID"] = DEFAULT_APP.client_id
        given["HUBSPOT_CLIENT_SECRET"] = DEFAULT_APP.client_secret
        given |= _other_providers(settings, given["HUBSPOT_API_URL"])
    return given


def _leave(given: dict[str, str], folder: Path) -> None:
    """Leave it for other commands, whole at any moment: its keys open what is stored."""
    lines = "".join(f"{name}='{value}'\n" for name, value in given.items())
    fresh = folder / f"{EMBEDDED_FILE}.new"
    fresh.touch(mode=0o600)
    fresh.write_text(f"# Written by run.py for `flask` commands beside it.\n{lines}")
    fresh.replace(folder / EMBEDDED_FILE)


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


def _wait_for(part: Part, address: str) -> None:
    """Wait until the part answers at its address."""
    deadline = time.monotonic() + _LONGEST_START
    while True:
        _refuse_dead([part])
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - our own loopback
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise ConfigError(f"The {part.name} did not start within a minute") from None
        time.sleep(0.05)


def _watch(parts: Parts) -> NoReturn:
    while True:
        _refuse_dead(parts.started)
        if parts.log_file:
            keep_small(parts.log_file)
        time.sleep(0.2)


def _refuse_dead(parts: list[Part]) -> None:
    for part in parts:
        end = part.find_end()
        if end:
            raise ConfigError(
                f"The {part.name} {end}, so everything stops; the last lines above say why"
            )


def _tell_step(words: str) -> None:
    print(f"{time.monotonic() - _BEGAN:5.1f} s  {words}", flush=True)


def _tell(
    configured: Settings, settings: Settings, log_file: Path | None, *, with_sandbox: bool
) -> None:
    here = settings.local_url
    database = "as configured" if configured.database_url else f"embedded, {settings.data_folder}"
    _tell_step("ready")
    print(
        f"\n  service    {here}\n"
        f"  try it     {here}/docs\n"
        f"  database   {database}\n"
        f"  HubSpot    {settings.hubspot_api_url}{' (sandbox)' if with_sandbox else ''}"
    )
    if log_file:
        print(f"  requests   {log_file}")


def _tell_access(*, is_open: bool, with_demo: bool) -> None:
    if with_demo:
        print(f"  sign in    {DEMO_EMAIL} / {DEMO_PASSWORD}")
    if is_open:
        print("  access     open: this machine's calls need no credential; OPEN_ACCESS=0 ends that")
    print("\n  Ctrl-C stops everything.\n", flush=True)


def _request_stop(*_: object) -> NoReturn:
    # Once is enough: the parts are given their time to stop.
    for each in _ENDINGS:
        # Not SIG_IGN: Python complains of a signal that came in between.
        signal.signal(each, lambda *_: None)
    raise StopRequestedError


if __name__ == "__main__":
    sys.exit(main())
