"""``make upgrade-check``: the release before is upgraded while it works, and goes back again.

The release before runs from its own commit, on a database of its own, and is left with what an
upgrade could lose: changes that HubSpot has not seen, a scan half done, sign-ins, keys. Then
today's migrations run beside it while people register. Today's code takes over, and all of it must
arrive. Then the way back, as docs/going-back.md describes it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg2
import requests
from cryptography.fernet import Fernet
from psycopg2.sql import SQL, Identifier

from crm.config import PROJECT
from hubspot_sandbox import DEFAULT_TOKEN
from tests.conftest import free_port, registration
from tools.stage import Stage, stage

BEFORE = "ae80d0f"
"""The release before this one."""

LONGEST_LOCK_MS = 1_000
"""For longer no migration may keep others from writing to a table."""
LONGEST_WAIT = 60.0
KEY = Fernet.generate_key().decode()
PASSWORD = "a password of before"
SCAN_AUTH = {"hubspot_access_token": DEFAULT_TOKEN}


class UpgradeError(Exception):
    """Something of the installation before was lost or stopped working."""


class Release:
    """One edition of the code, its processes and its commands, on the stage's database."""

    def __init__(self, place: Stage, folder: Path, running: ExitStack) -> None:
        """Take the code that lies in a folder."""
        self._folder, self._running = folder, running
        self._environment = place.environment("upgraded") | {"ENCRYPTION_KEYS": KEY}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def flask(self, *arguments: str) -> str:
        """Do a flask command; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "crm", *arguments],
            cwd=self._folder,
            env=self._environment,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise UpgradeError(f"flask {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def serve(self) -> None:
        """Start the web server, and wait until it answers."""
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        gunicorn = ["gunicorn", "--config", "python:crm.gunicorn", "crm:create_app()"]
        self._start(gunicorn, PORT=str(port))
        wait_for("the web server", lambda: self.call("GET", "/health").status_code)

    def work(self) -> None:
        """Start a worker."""
        self._start(["flask", "--app", "crm", "worker"])

    def stop(self) -> None:
        """Stop all of its processes, as an operator does."""
        for each in self._processes:
            each.terminate()
        for each in self._processes:
            each.wait(30)
        self._processes.clear()

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """Call the service."""
        return requests.request(method, self.address + path, timeout=10, **more)

    def _start(self, module: list[str], **changes: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=self._folder,
            env={**self._environment, **changes},
            stdout=subprocess.DEVNULL,
        )
        self._running.callback(process.wait)
        self._running.callback(process.kill)
        self._processes.append(process)


def main() -> int:
    """Walk the whole way; returns 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="make upgrade-check", description=__doc__)
    parser.add_argument("--before", default=BEFORE, help="a commit of the release before")
    options = parser.parse_args()
    try:
        with stage() as place, ExitStack() as running, tempfile.TemporaryDirectory() as folder:
            old = Release(place, _check_out(options.before, Path(folder)), running)
            new = Release(place, PROJECT, running)
            place.create_database("upgraded")
            _walk(place, old, new)
    except (UpgradeError, requests.RequestException) as error:
        print(f"FAILED: {error}")
        return 1
    print("nothing was lost, on the way there and on the way back")
    return 0


def _check_out(commit: str, folder: Path) -> Path:
    archive = subprocess.run(
        ["git", "archive", commit], cwd=PROJECT, stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive.stdout, check=True)
    return folder


def _walk(place: Stage, old: Release, new: Release) -> None:
    old.flask("db", "upgrade")
    revision = old.flask("db", "current").split()[0]
    old.serve()
    old.work()
    left = Left(place, old)
    say(f"the release before works at {revision}, and is left with: {left}")
    with (
        closing(psycopg2.connect(place.environment("upgraded")["DATABASE_URL"])) as connection,
        repeated(lambda _: write_to_every_table(connection)) as written,
        repeated(lambda turn: register(old, f"meanwhile{turn}@example.com")) as registered,
    ):
        new.flask("db", "upgrade")
    say(f"migrated beside it: {registered.count} people registered meanwhile")
    say(f"{written.count} times each table could be written to within {LONGEST_LOCK_MS} ms")
    new.serve()
    old.stop()
    new.work()
    say("the new release has taken over")
    place.sandbox.set_faults([])
    left.check_arrived(new)
    new.stop()
    new.flask("db", "downgrade", revision)
    old.serve()
    old.work()
    left.check_kept(old)
    say("back: the release before works as it did")


class Left:
    """What the installation of the release before is left with, and whether it arrives."""

    def __init__(self, place: Stage, old: Release) -> None:
        """Make all of it, half of it while HubSpot is away."""
        self._sandbox = place.sandbox
        tokens = self._sign_in(old, "ada@example.com")
        self._refresh_token = tokens["refresh_token"]
        self._headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        old.flask("users", "create", "boss@example.com", "--role", "admin", "--password", PASSWORD)
        boss = old.call("POST", "/login", json={"email": "boss@example.com", "password": PASSWORD})
        admin = {"Authorization": f"Bearer {boss.json()['data']['access_token']}"}
        self._key = {"X-API-Key": old.flask("keys", "create", "an application").split()[-1]}
        self._ada = wait_for("the first person in HubSpot", lambda: self._hubspot_id(old))
        place.sandbox.set_faults([{"kind": "status", "status": 503}])
        change = {"city": "London"}
        expect(202, old.call("PATCH", f"/contacts/{self._ada}", json=change, headers=admin))
        self._sign_in(old, "grace@example.com")
        scan = {"scanId": "before", "type": ["hubspot_deals"], "auth": SCAN_AUTH}
        expect(202, old.call("POST", "/api/v1/scan/start", json={"config": scan}, headers=admin))

    def __str__(self) -> str:
        return "a change, a registration and a scan that wait, sign-ins, a key"

    def check_arrived(self, new: Release) -> None:
        """Wait until HubSpot has all of it, and see that those who were signed in still are."""
        wait_for("all that waited in HubSpot", self._is_there)
        wait_for("the scan's end", lambda: self._is_scanned(new))
        self.check_kept(new)
        refreshed = new.call(
            "POST", "/refresh", headers={"Authorization": f"Bearer {self._refresh_token}"}
        )
        expect(200, refreshed)
        self._headers = {"Authorization": f"Bearer {refreshed.json()['data']['access_token']}"}

    def check_kept(self, release: Release) -> None:
        """Raise UpgradeError unless the sign-in and the key still open the service."""
        expect(200, release.call("GET", "/me", headers=self._headers))
        expect(200, release.call("GET", "/contacts", headers=self._key))

    def _sign_in(self, release: Release, email: str) -> dict[str, Any]:
        register(release, email)
        body = {"email": email, "password": registration(email)["password"]}
        answer = release.call("POST", "/login", json=body)
        expect(200, answer)
        found: dict[str, Any] = answer.json()["data"]
        return found

    def _hubspot_id(self, release: Release) -> str | None:
        me = release.call("GET", "/me", headers=self._headers).json()
        found: str | None = me["data"]["contact"]["id"]
        return found

    def _is_there(self) -> bool:
        answer = requests.get(
            f"{self._sandbox.url}/crm/v3/objects/contacts",
            params={"properties": "email,city", "limit": 100},
            headers={"Authorization": f"Bearer {DEFAULT_TOKEN}"},
            timeout=10,
        )
        found = [each["properties"] for each in answer.json()["results"]]
        cities = {each["email"]: each["city"] for each in found}
        return cities.get("ada@example.com") == "London" and "grace@example.com" in cities

    def _is_scanned(self, release: Release) -> bool:
        answer = release.call("GET", "/api/v1/scan/status/before", headers=self._key)
        return bool(answer.json()["status"] == "completed")


class Repeated:
    """How often something was done."""

    count = 0


@contextmanager
def repeated(do: Callable[[int], object]) -> Iterator[Repeated]:
    """Do something all the time; raise UpgradeError afterwards if it failed once."""
    done, over, failures = Repeated(), Event(), list[Exception]()

    def go_on() -> None:
        while not over.is_set():
            try:
                do(done.count)
            except (UpgradeError, requests.RequestException, psycopg2.Error) as error:
                failures.append(error)
            done.count += 1
            time.sleep(0.02)

    thread = Thread(target=go_on)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()
    if failures:
        raise UpgradeError(f"while migrations ran: {failures[0]}")


def register(release: Release, email: str) -> None:
    """Register somebody, or raise UpgradeError."""
    expect(201, release.call("POST", "/register", json=registration(email)))


def write_to_every_table(connection: Any) -> None:
    """Take the lock that a writer takes, of each table; raise psycopg2.Error if it is not given."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = %s", (LONGEST_LOCK_MS,))
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(
                SQL("LOCK TABLE ONLY {} IN ROW EXCLUSIVE MODE").format(Identifier(table))
            )
            connection.commit()


def expect(status: int, answer: requests.Response) -> None:
    """Raise UpgradeError unless the answer has this status."""
    if answer.status_code != status:
        raise UpgradeError(f"{answer.request.method} {answer.url}: {answer.text[:500]}")


def wait_for(what: str, find: Callable[[], Any]) -> Any:
    """Ask until there is something; returns it."""
    until = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < until:
        try:
            if found := find():
                return found
        except requests.ConnectionError:
            pass
        time.sleep(0.2)
    raise UpgradeError(f"{what}: not within {LONGEST_WAIT:.0f} s")


def say(sentence: str) -> None:
    """Tell how far it is."""
    print(f"  {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
